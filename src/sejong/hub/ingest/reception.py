"""Where every door brings its messages to be understood: as the default payload, or by the topic's device model."""

from __future__ import annotations

from collections.abc import Sequence

from sejong.hub.ingest import refusals as no
from sejong.hub.ingest import topics
from sejong.hub.ingest.mapping import DeviceModel, Reader
from sejong.hub.ingest.needs import Limits
from sejong.hub.ingest.reading import Allowed, Decoder, Moment, Refused, Understood, moment
from sejong.hub.ingest.source import Source

MODEL = "model:"
"""How a message without a topic says which device model it was sent for (HTTP, files)."""
FILE = "file"


class Reception:
    """Turns messages into readings. Pure: what it knows of names and models is given to it and may be exchanged."""

    def __init__(self, decoder: Decoder, limits: Limits, models: Sequence[DeviceModel] = ()) -> None:
        self.decoder = decoder
        self._limits = limits
        self._models: dict[str, Reader] = {}
        self._by_topic: dict[str, Reader | None] = {}
        self._moment: tuple[tuple[str, object, bool], Moment] | None = None
        self.use_models(models)

    def use_models(self, models: Sequence[DeviceModel]) -> None:
        """Read foreign payloads by these models from now on."""
        self._models = {model.name: Reader(model) for model in models}
        self._by_topic.clear()

    @property
    def filters(self) -> list[str]:
        """The MQTT filters that bring everything somebody here understands."""
        return [topics.DEFAULT, *sorted({r.model.topic for r in self._models.values() if r.model.topic})]

    def understand(self, source: Source, allowed: Allowed | None) -> Understood:
        """The readings of one message and what had to be set aside. Never raises for anything a sender can do."""
        when = self.when(source)
        if source.form == "readings" or topics.key_of(source.topic) is not None or not source.topic:
            return self.decoder.message(source.raw, when, source, allowed)
        try:
            reader = self._reader(source.topic)
        except no.Refusal as error:
            return Understood([], [Refused(error)])
        mapped = reader.message(source.raw, source.topic, when.now)
        out = self.decoder.document(mapped.things, when, source, allowed)
        # A mended model has to see the whole message again, once for each reason.
        reasons = {error.code: error for error in [*mapped.refused, *(refused.error for refused in out.refused)]}
        out.refused = [Refused(error) for error in reasons.values()]
        return out

    def when(self, source: Source) -> Moment:
        """The moment a message arrived, with the limits of its door."""
        key = (source.door, source.arrived, source.again)
        if self._moment is None or self._moment[0] != key:
            earliest = "" if source.door == FILE else self._limits.earliest
            found = moment(source.arrived, ahead_h=self._limits.ahead_h, earliest=earliest, again=source.again)
            self._moment = (key, found)
        return self._moment[1]

    def _reader(self, topic: str) -> Reader:
        if topic.startswith(MODEL):
            reader = self._models.get(topic[len(MODEL) :])
            if reader is None:
                raise no.UnknownModel(model=topic[len(MODEL) :][:80])
            return reader
        if topic not in self._by_topic:
            if len(self._by_topic) > 10_000:
                self._by_topic.clear()
            found = (r for r in self._models.values() if r.model.topic and topics.matches(r.model.topic, topic))
            self._by_topic[topic] = next(found, None)
        reader = self._by_topic[topic]
        if reader is None:
            raise no.UnknownTopic(topic=topic[:200])
        return reader
