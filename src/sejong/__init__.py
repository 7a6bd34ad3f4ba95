"""sejong: a smart-city operating platform. The city is one living record; services read and change it."""
