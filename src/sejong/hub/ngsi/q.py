"""The NGSI-LD query language in one place: read it, list what it needs, test entities, ask the database.

    query = parse_q('speed>50;brandName!="Mercedes"', context.expand)
    matches = compile_predicate(query)          # exact, on an expanded entity
    rows = to_sql(query, term_no, bind)         # maybe / sure, on the entity table

Source: ETSI GS CIM 009 V1.9.1 clause 4.9. The parts live in qtree (shape), qparse (reading), qmatch
(testing) and qsql (database).
"""

from __future__ import annotations

from sejong.hub.ngsi.qmatch import compile_predicate
from sejong.hub.ngsi.qparse import parse_q
from sejong.hub.ngsi.qsql import to_sql
from sejong.hub.ngsi.qtree import (
    And,
    Node,
    OneOf,
    Or,
    Query,
    Range,
    Regex,
    Term,
    Value,
    attributes,
    link_depth,
    links,
    needs_join,
    render,
    terms,
)

__all__ = [
    "And",
    "Node",
    "OneOf",
    "Or",
    "Query",
    "Range",
    "Regex",
    "Term",
    "Value",
    "attributes",
    "compile_predicate",
    "link_depth",
    "links",
    "needs_join",
    "parse_q",
    "render",
    "terms",
    "to_sql",
]
