"""What the names in a message mean: the @context, compiled once into flat dictionaries.

A sender's context may name things as it likes, but the words of the NGSI-LD core always keep their meaning: the core
context has the last word wherever it stands, and unknown names fall into the default vocabulary.

Source: ETSI GS CIM 009 v1.9.1 clauses 4.4 and 5.5.5-5.5.7; W3C JSON-LD 1.1 API, context processing (without scoped
contexts, `@import` and reverse terms, which NGSI-LD has no use for).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin

import msgspec

from sejong.hub.ngsi.errors import BadRequestData
from sejong.hub.ngsi.fault import shown
from sejong.hub.ngsi.grammar import is_name, is_uri
from sejong.hub.ngsi.members import DEFAULT_CONTEXT, RESERVED_TERMS

CORE_URL: Final = "https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context-v1.9.jsonld"
_CORE_BASE = "https://uri.etsi.org/ngsi-ld/v1/ngsi-ld-core-context"
CORE_URLS: Final = frozenset({f"{_CORE_BASE}.jsonld", *(f"{_CORE_BASE}-v1.{minor}.jsonld" for minor in range(3, 10))})
"""Addresses of the core context the hub knows by heart; any other address has to be fetched."""

_FLAGS: Final = frozenset({"@prefix", "@protected", "@propagate"})
_WORDS: Final = frozenset({"@reverse", "@index", "@nest", "@type"})
_WORDS_OR_NULL: Final = frozenset({"@id", "@language", "@direction"})
_CONTAINERS: Final = frozenset({"@list", "@set", "@language", "@index", "@graph", "@id", "@type", "@none"})
_PREFIX_ENDS: Final = (":", "/", "?", "#", "[", "]", "@")
_CORE_ALIASES: Final = frozenset({"id", "type"})
_MAX_NESTING = 16
_MAX_REMOTE = 64
_MAX_MEMO = 20_000


class MissingDocument(LookupError):
    """A remote context is needed that was not handed in: fetch `url`, add it to the documents, compile again."""

    def __init__(self, url: str) -> None:
        self.url = url
        super().__init__(url)


class _Memo(dict[str, str]):
    """A dictionary that works out an unknown key once; bounded, because senders choose the keys."""

    def __init__(self, known: Mapping[str, str], work_out: Callable[[str], str]) -> None:
        super().__init__(known)
        self._work_out = work_out
        self._limit = len(known) + _MAX_MEMO

    def __missing__(self, key: str) -> str:
        answer = self._work_out(key)
        if len(self) < self._limit:
            self[key] = answer
        return answer


class Context:
    """How one sender names things. Made by `compile_context`, shared freely, never changed from outside.

    `expand(term)` gives the IRI of any name or value word, `attribute(name)` the same for the name of a type or
    attribute after checking it (BadRequestData), `compact(iri)` the shortest name for an IRI. `source` is the context
    to repeat in answers, `key` the same for equal contexts.
    """

    __slots__ = (
        "_compacted",
        "_names",
        "_prefixes",
        "_terms",
        "attribute",
        "compact",
        "expand",
        "key",
        "source",
    )

    attribute: Callable[[str], str]
    compact: Callable[[str], str]
    expand: Callable[[str], str]

    def __init__(self, source: Any, terms: dict[str, str], prefixes: dict[str, str]) -> None:
        self.source: Any = source
        self._terms = terms
        self._prefixes = prefixes
        self.expand = _Memo(terms, self._expand).__getitem__
        self._names = _Memo({}, self._checked_name)
        self.attribute = self._names.__getitem__
        self._compacted = _Memo(_shortest_terms(terms), self._compact)
        self.compact = self._compacted.__getitem__
        self.key: str = blake2b(msgspec.json.encode([source, sorted(terms.items())]), digest_size=16).hexdigest()

    def _expand(self, term: str) -> str:
        prefix, colon, rest = term.partition(":")
        if not colon:
            return DEFAULT_CONTEXT + term
        if rest.startswith("//"):
            return term
        start = self._prefixes.get(prefix)
        return term if start is None else start + rest

    def _checked_name(self, name: str) -> str:
        if not is_name(name):
            raise BadRequestData(
                detail=f"{shown(name)} is not a name: letters, digits and _ (a letter first), prefix:name or an IRI"
            )
        iri = self.expand(name)
        if ":" not in iri:
            raise BadRequestData(detail=f"{shown(name)} does not expand to an IRI")
        return iri

    def _compact(self, iri: str) -> str:
        if not iri.startswith(DEFAULT_CONTEXT):
            return iri
        name = iri[len(DEFAULT_CONTEXT) :]
        if name and name not in _CORE_ALIASES and self.expand(name) == iri:
            return name
        return "ngsi-ld:default-context/" + name if name else iri

    def __repr__(self) -> str:
        return f"Context({self.source!r})"


def context_urls(value: Any) -> list[str]:
    """The remote contexts a context value asks for, in order, each once; the core, being known, is not among them."""
    found: dict[str, None] = {}
    pending = [value]
    while pending:
        part = pending.pop()
        if isinstance(part, str):
            if part not in CORE_URLS and is_uri(part):
                found[part] = None
        elif isinstance(part, list):
            pending.extend(reversed(part))
    return list(found)


def compile_context(value: Any, documents: Mapping[str, Any]) -> Context:
    """The meaning of a context value (URL, object, array of those, or None), with the core in last position.

    `documents` holds fetched remote contexts by URL, each the parsed JSON document. Raises MissingDocument when one is
    lacking, BadRequestData for an invalid context: bad values, scoped contexts, `@import`, cycles, relative addresses
    without a base. The sender cannot redefine core terms; attempts are ignored.
    """
    if value is None or value == [] or (isinstance(value, str) and value in CORE_URLS):
        return CORE if value is None or value == CORE_URL or value == [] else _with_source(value)
    compiler = _Compiler(documents)
    compiler.read(value, base=None)
    terms = {**compiler.terms, **_CORE_TERMS}
    prefixes = {**compiler.prefixes, **_CORE_PREFIXES}
    return Context(value, terms, prefixes)


def _with_source(value: Any) -> Context:
    return Context(value, _CORE_TERMS, _CORE_PREFIXES)


class _Compiler:
    """Reads context values one after another into flat dictionaries of the sender's own terms and prefixes."""

    def __init__(self, documents: Mapping[str, Any], *, core: bool = True) -> None:
        self.documents = documents
        self.core: Mapping[str, str] = _CORE_TERMS if core else {}
        self.core_prefixes: Mapping[str, str] = _CORE_PREFIXES if core else {}
        self.terms: dict[str, str] = {}
        self.prefixes: dict[str, str] = {}
        self.vocab = DEFAULT_CONTEXT
        self.opened: list[str] = []
        self.loaded = 0

    def read(self, value: Any, base: str | None, depth: int = 0) -> None:
        if depth > _MAX_NESTING:
            raise BadRequestData(detail="@context: nested too deeply")
        if value is None:
            self.terms, self.prefixes, self.vocab = {}, {}, DEFAULT_CONTEXT
        elif isinstance(value, str):
            self._read_remote(value, base, depth)
        elif isinstance(value, list):
            for part in value:
                self.read(part, base, depth + 1)
        elif isinstance(value, dict):
            _Definitions(self, value).read()
        else:
            raise BadRequestData(detail=f"@context: {shown(value)} is neither an address, an object nor an array")

    def _read_remote(self, address: str, base: str | None, depth: int) -> None:
        url = address if base is None else urljoin(base, address)
        if url in CORE_URLS:
            self.vocab = DEFAULT_CONTEXT
            return
        if not is_uri(url):
            raise BadRequestData(detail=f"@context: {shown(address)} is not an absolute URL")
        if url in self.opened:
            raise BadRequestData(detail=f"@context: {url} includes itself")
        self.loaded += 1
        if self.loaded > _MAX_REMOTE:
            raise BadRequestData(detail="@context: too many remote contexts")
        if url not in self.documents:
            raise MissingDocument(url)
        document = self.documents[url]
        if not isinstance(document, dict) or "@context" not in document:
            raise BadRequestData(detail=f"@context: {url} does not hold an object with an @context")
        self.opened.append(url)
        self.read(document["@context"], url, depth + 1)
        self.opened.pop()


class _Definitions:
    """One context object while its terms, which may use each other as prefixes, are worked out."""

    def __init__(self, compiler: _Compiler, local: dict[str, Any]) -> None:
        self.compiler = compiler
        self.local = local
        self.state: dict[str, bool] = {}

    def read(self) -> None:
        for key in self.local:
            if key in _CONTEXT_KEYWORDS:
                _CONTEXT_KEYWORDS[key](self.local[key])
        if "@vocab" in self.local:
            self._read_vocab(self.local["@vocab"])
        for term in self.local:
            if term not in _CONTEXT_KEYWORDS:
                self.define(term)

    def _read_vocab(self, vocab: Any) -> None:
        if vocab is None:
            self.compiler.vocab = DEFAULT_CONTEXT
            return
        if not isinstance(vocab, str):
            raise BadRequestData(detail="@context: @vocab must be a string or null")
        compiler = self.compiler
        prefix, colon, rest = vocab.partition(":")
        if not colon:
            compiler.vocab = compiler.terms.get(vocab) or compiler.vocab + vocab
        elif not rest.startswith("//"):
            start = compiler.core_prefixes.get(prefix) or compiler.prefixes.get(prefix)
            compiler.vocab = vocab if start is None else start + rest
        else:
            compiler.vocab = vocab

    def define(self, term: str) -> None:
        done = self.state.get(term)
        if done:
            return
        if done is False:
            raise BadRequestData(detail=f"@context: the definition of {shown(term)} depends on itself")
        if not term or _keyword_like(term):
            if term == "@type" and isinstance(self.local[term], dict):
                return
            raise BadRequestData(detail=f"@context: {shown(term)} cannot be defined")
        self.state[term] = False
        iri, prefix = self._meaning(term, self.local[term])
        compiler = self.compiler
        if term not in compiler.core and term not in _CORE_ALIASES:
            if iri is None:
                compiler.terms.pop(term, None)
                compiler.prefixes.pop(term, None)
            else:
                compiler.terms[term] = iri
                if prefix or iri.endswith(_PREFIX_ENDS):
                    compiler.prefixes[term] = iri
                else:
                    compiler.prefixes.pop(term, None)
        self.state[term] = True

    def _meaning(self, term: str, value: Any) -> tuple[str | None, bool]:
        """The IRI a definition gives its term (None: none the hub can use) and whether the term may be a prefix."""
        if value is None:
            return None, False
        if isinstance(value, str):
            return self._mapped(term, value), True
        if not isinstance(value, dict):
            raise BadRequestData(detail=f"@context: {shown(term)} must be defined by a string, an object or null")
        _check_definition(term, value)
        if "@reverse" in value or ("@id" in value and value["@id"] is None):
            return None, False
        return self._mapped(term, value.get("@id", term)), value.get("@prefix") is True

    def _mapped(self, term: str, identifier: str) -> str | None:
        if identifier == "@context":
            raise BadRequestData(detail=f"@context: {shown(term)} cannot stand for @context")
        if _keyword_like(identifier):
            return None
        iri = self._iri(identifier, term)
        if ":" not in iri:
            raise BadRequestData(detail=f"@context: {shown(term)} does not map to an IRI")
        return iri

    def _iri(self, value: str, term: str | None = None) -> str:
        compiler = self.compiler
        if value != term:
            if value in self.local and value not in compiler.core and value not in _CONTEXT_KEYWORDS:
                self.define(value)
            known = compiler.core.get(value) or compiler.terms.get(value)
            if known is not None:
                return known
        prefix, colon, rest = value.partition(":")
        if not colon or not prefix:
            return compiler.vocab + value
        if prefix == "_" or rest.startswith("//"):
            return value
        if prefix in self.local and prefix not in compiler.core and prefix != term:
            self.define(prefix)
        start = compiler.core_prefixes.get(prefix) or compiler.prefixes.get(prefix)
        return value if start is None else start + rest


def _check_definition(term: str, definition: dict[str, Any]) -> None:
    where = f"@context: {shown(term)}"
    if "@context" in definition:
        raise BadRequestData(detail=f"{where} carries a scoped context, which NGSI-LD does not allow")
    for member, value in definition.items():
        if member == "@container":
            parts = value if isinstance(value, list) else [value]
            if not all(part is None or (isinstance(part, str) and part in _CONTAINERS) for part in parts):
                raise BadRequestData(detail=f"{where} has an invalid @container")
        elif member in _FLAGS:
            if not isinstance(value, bool):
                raise BadRequestData(detail=f"{where}: {member} must be true or false")
        elif member in _WORDS or member in _WORDS_OR_NULL:
            if not isinstance(value, str) and (value is not None or member in _WORDS):
                raise BadRequestData(detail=f"{where}: {member} must be a string")
        else:
            raise BadRequestData(detail=f"{where} has the unknown member {shown(member)}")


def _must(allowed: Callable[[Any], bool], keyword: str, rule: str) -> Callable[[Any], None]:
    def check(value: Any) -> None:
        if not allowed(value):
            raise BadRequestData(detail=f"@context: {keyword} {rule}")

    return check


def _is_text_or_null(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


_CONTEXT_KEYWORDS: Final[dict[str, Callable[[Any], None]]] = {
    "@vocab": _must(_is_text_or_null, "@vocab", "must be a string or null"),
    "@base": _must(_is_text_or_null, "@base", "must be a string or null"),
    "@language": _must(_is_text_or_null, "@language", "must be a string or null"),
    "@direction": _must(lambda value: value in ("ltr", "rtl", None), "@direction", "must be ltr, rtl or null"),
    "@version": _must(lambda value: value == 1.1 and not _is_flag(value), "@version", "must be 1.1"),
    "@propagate": _must(_is_flag, "@propagate", "must be true or false"),
    "@protected": _must(_is_flag, "@protected", "must be true or false"),
    "@import": _must(lambda _: False, "@import", "is not supported"),
}


def _keyword_like(text: str) -> bool:
    return text.startswith("@") and text[1:].isascii() and text[1:].isalpha()


def _shortest_terms(terms: Mapping[str, str]) -> dict[str, str]:
    shortest: dict[str, str] = {}
    for term in sorted(terms, key=lambda term: (len(term), term)):
        shortest.setdefault(terms[term], term)
    return shortest


def core_documents() -> Iterator[tuple[str, bytes]]:
    """The embedded core contexts, as (URL, file content), for serving them and for tests."""
    for file in sorted((Path(__file__).parent / "contexts").glob("*.jsonld")):
        yield f"https://uri.etsi.org/ngsi-ld/v1/{file.name}", file.read_bytes()


_CORE_TERMS: dict[str, str] = {}
_CORE_PREFIXES: dict[str, str] = {}


def _load_core() -> Context:
    document = msgspec.json.decode(dict(core_documents())[CORE_URL])
    compiler = _Compiler({}, core=False)
    compiler.read(document["@context"], base=None)
    _CORE_TERMS.update(compiler.terms)
    _CORE_PREFIXES.update({term: iri for term, iri in compiler.terms.items() if iri.endswith(_PREFIX_ENDS)})
    return _with_source(CORE_URL)


CORE: Final = _load_core()
"""The core context alone: what applies when a sender gives none."""

RESERVED_IRIS: Final = frozenset(_CORE_TERMS[term] for term in RESERVED_TERMS if term in _CORE_TERMS)
"""What no attribute may be called, under whatever name (clause 4.5.1)."""
