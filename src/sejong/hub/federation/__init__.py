"""Several hubs answering as one: registrations of context sources, and the operations that reach them."""
