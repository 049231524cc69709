# SPDX-License-Identifier: Apache-2.0
"""The reports: what they say, that they say no more than the record, and that nothing breaks out of them."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
import re
from html.parser import HTMLParser
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stix2validator import ValidationOptions, validate_string

from tests.unit.incident.hostile import TEXT, hostile
from tests.unit.incident.sample import BEGIN, incident
from xdpwall.errors import InputError
from xdpwall.incident import story
from xdpwall.incident.model import Action, Incident, Origin, Point, Sources, Totals, Users, json_schema
from xdpwall.incident.render import FORMATS, SUFFIXES, markdown, ncsc, record, render, svg, text, view

SAMPLE = incident()
EMPTY = Incident(id=1, key="2026-11-23-1", state="open", opened_ms=BEGIN)
HOSTILE = hostile(SAMPLE)
VOID = {"meta", "br"}


class Page(HTMLParser):
    """Reads a page, as a browser does: tags with their attributes, text, and what was left open."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        """All text, one line."""
        return " ".join(" ".join(self.words).split())


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("given_incident", [SAMPLE, EMPTY, HOSTILE], ids=["sample", "empty", "hostile"])
def test_every_format_takes_every_record(form: str, given_incident: Incident) -> None:
    written = render(given_incident, form)
    assert written == render(given_incident, form)
    assert written.endswith("\n") or form == "html"
    assert set(SUFFIXES) == set(FORMATS)


def test_unknown_format() -> None:
    with pytest.raises(InputError, match="docx"):
        render(SAMPLE, "docx")


# --- HTML ---


def test_the_page_says_what_the_record_says() -> None:
    words = Page(render(SAMPLE, "html")).text.replace("\u00a0", " ")
    for expected in (
        "36.0 million", "98.9 %", "36,035,112", "SYN flood", "192.0.2.10", "Russia", "60.0 %", "Brazil", "AS12389",
        "72 of 72", "16:04:42.041", "+38 ms", "port scan", "198.51.100.23", "AS64500", "may be forged", "proven",
        "banned_source", "CC BY 4.0", "2026-06-17", "incident number 3", "20,003", "7.pcapng", "Every attempt failed",
    ):  # fmt: skip
        assert expected in words, expected


@pytest.mark.parametrize("given_incident", [SAMPLE, EMPTY, HOSTILE], ids=["sample", "empty", "hostile"])
def test_the_page_needs_nothing_else_and_runs_nothing(given_incident: Incident) -> None:
    page = render(given_incident, "html")
    read = Page(page)
    assert read.open == []
    assert {tag for tag, _ in read.tags} <= {
        "html", "head", "meta", "title", "style", "body", "main", "header", "section", "footer", "div", "p",
        "span", "b",
        "h1", "h2", "h3", "ul", "ol", "li", "dl", "dt", "dd", "table", "tr", "th", "td", "br", "figure",
        "small", "svg", "g", "rect", "line", "path", "circle", "text",
    }  # fmt: skip
    names = {name for _, attributes in read.tags for name in attributes}
    assert not {name for name in names if name.startswith("on")} | (
        names & {"src", "href", "style", "srcset", "action"}
    )
    head = {
        attributes.get("http-equiv"): attributes.get("content")
        for tag, attributes in read.tags
        if tag == "meta"
    }
    policy = head["Content-Security-Policy"]
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    style = page.split("<style>")[1].split("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in policy
    assert not re.search(r"url\(|@import|//", style)


def test_nothing_breaks_out_of_the_page() -> None:
    page = render(HOSTILE, "html")
    read = Page(page)
    assert "<script>alert(1)</script>" in read.text  # as words
    assert "{{7*7}}" in read.text
    assert "49" not in re.sub(r"[\d.,:]*\d[\d.,:]{2,}|sha256-\S+", "", read.text).split()
    for char in ("\u202e", "\u2066", "\x1b", "\x00"):
        assert char not in page
    assert [attributes for _, attributes in read.tags if any("alert" in name for name in attributes)] == []


def test_dark_light_phone_and_paper_are_in_the_style() -> None:
    page = render(SAMPLE, "html")
    for rule in ("prefers-color-scheme: dark", "max-width: 640px", "@media print", "size: A4"):
        assert rule in page
    assert 'name="viewport"' in page
    assert page.count('class="chart wide"') == page.count('class="chart narrow"') == 1


def test_what_was_not_measured_is_said() -> None:
    words = Page(render(EMPTY, "html")).text
    assert "This was not measured." in words
    assert "Origins were not looked up." in words
    assert "going on" in words
    assert "Every attempt failed" not in words
    assert "not known" in words


def test_observe_claims_no_drops() -> None:
    words = Page(render(dataclasses.replace(SAMPLE, policy="observe", verdict=()), "html")).text
    assert "would have been stopped" in words
    assert "nothing was dropped" in words
    assert "stopped by the wall" not in words


def test_shares_end_with_the_rest() -> None:
    lines = view.shares(
        tuple(dataclasses.replace(SAMPLE.origin.by_country[0], share_packets=0.05) for _ in range(20))
    )
    assert (len(lines), lines[-1].name, lines[-1].share) == (view.MOST_SHARES + 1, "all others", "40.0 %")
    assert sum(length for length, _ in lines[0].parts) == pytest.approx(1.0)
    assert view.shares(()) == []


def test_the_bars_tell_proven_from_forged() -> None:
    (line,) = view.shares(
        (dataclasses.replace(SAMPLE.origin.by_country[0], packets=100, handshake_packets=25),)
    )
    assert line.parts == ((0.25, "bar-proven"), (0.75, "bar-spoofable"))
    assert line.believed == "25.0 %"


# --- pictures ---


def points(*seen: int, step: int = 1000) -> tuple[Point, ...]:
    """A timeline with these rates."""
    return tuple(Point(BEGIN + n * step, pps, 0, pps, 0, {"syn": pps}) for n, pps in enumerate(seen))


def test_the_picture_is_a_stair_of_what_came() -> None:
    one = dataclasses.replace(SAMPLE, timeline=points(0, 1000, 500))
    drawn = svg.timeline(one, [], 960)
    (area,) = re.findall(r'class="area lane-syn" d="([^"]+)"', drawn)
    heights = [float(pair.split()[1]) for pair in area.strip("MZ").split("L")]
    top, zero = min(heights), max(heights)
    assert heights[:6] == [
        zero,
        zero,
        top,
        top,
        pytest.approx((top + zero) / 2),
        pytest.approx((top + zero) / 2),
    ]


def test_thresholds_and_actions_are_marked_in_the_order_of_time() -> None:
    marks = view.marks(SAMPLE)
    assert [mark.number for mark in marks] == list(range(1, 10))
    assert [mark.at_ms for mark in marks] == sorted(mark.at_ms for mark in marks)
    assert {mark.kind for mark in marks} == {"threshold", "action"}
    drawn = svg.timeline(SAMPLE, marks, 960)
    # The last one came after the picture's end.
    assert drawn.count("<circle") == 8


@pytest.mark.parametrize(
    ("value", "limit", "unit", "words"),
    [
        (18_411, 2_000, "pps", "x: 18.4 kpps over the threshold of 2.00 kpps"),
        (5e9, 1e9, "bps", "x: 5.00 Gbit/s over the threshold of 1.00 Gbit/s"),
        (40, 10, "sources", "x: 40 over the threshold of 10"),
    ],
)
def test_thresholds_in_words(value: float, limit: float, unit: str, words: str) -> None:
    assert view.crossing_words("x", value, limit, unit) == words


def test_many_bans_do_not_hide_the_end() -> None:
    bans = tuple(Action(BEGIN + n * 100, "ban", f"203.0.113.{n}") for n in range(200))
    many = dataclasses.replace(SAMPLE, actions=(*SAMPLE.actions, *bans))
    marks = view.marks(many)
    assert sum("ban" in mark.text for mark in marks) == 3
    assert marks[-1].text.startswith("closed")
    assert view.marks_left_out(many) == 209 - len(marks)
    busy = dataclasses.replace(
        many, thresholds=(), actions=tuple(Action(BEGIN + n, f"kind {n}") for n in range(99))
    )
    shown = view.marks(busy)
    assert (len(shown), shown[-1].text) == (svg.MOST_MARKS, "kind 98")


@given(
    st.lists(
        st.tuples(
            st.integers(0, 10**12),
            st.integers(0, 10**12),
            st.dictionaries(st.sampled_from(svg.LANES), st.integers(0, 10**12)),
        ),
        min_size=2,
        max_size=20,
    ),
    st.integers(1, 10**9),
)
def test_any_timeline_can_be_drawn(rows: list[tuple[int, int, dict[str, int]]], step: int) -> None:
    timeline = tuple(
        Point(BEGIN + n * step, a, min(a, b), a - min(a, b), 0, c) for n, (a, b, c) in enumerate(rows)
    )
    drawn = svg.timeline(dataclasses.replace(SAMPLE, timeline=timeline), view.marks(SAMPLE), 400)
    numbers = [float(n) for n in re.findall(r'(?:x|y|x1|x2|y1|y2)="(-?[\d.]+)"', drawn)]
    assert all(-1 <= n < 10_000 for n in numbers)
    assert drawn.count("<text") < 80


@given(st.floats(0, 1e15))
def test_scales_are_round_and_not_too_long(most: float) -> None:
    assert most <= svg.nice(most) <= max(1.0, most * 1.5 + 1)


# --- text ---


@given(st.text())
def test_cleaned_text_is_one_harmless_line(words: str) -> None:
    cleaned = text.clean(words, 50)
    assert len(cleaned) <= 50
    assert cleaned.isprintable()
    assert text.clean(cleaned, 50) == cleaned


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (3.2, "3.2 ms"),
        (230, "230 ms"),
        (5_250, "5.25 s"),
        (35_100, "35 s"),
        (5_400_000, "1 h 30 min"),
        (90_061_000, "1 d 1 h"),
    ],
)
def test_spans(value: float, words: str) -> None:
    assert text.span(value) == words


def test_shares_never_round_to_all_or_nothing() -> None:
    assert [text.share(n, 100_000) for n in (0, 1, 99_999, 100_000)] == ["0 %", "<0.1 %", ">99.9 %", "100 %"]


def test_a_damaged_time_gives_a_report() -> None:
    assert text.moment(10**18).startswith("1970")


# --- the account ---


def test_headlines() -> None:
    assert story.headline(SAMPLE) == (
        "SYN flood, UDP flood and ACK flood on 192.0.2.10, for 35 s: "
        "36.0 million packets, of which 98.9 % were stopped."
    )
    assert story.headline(EMPTY).startswith("Traffic of unknown kind, going on for")
    one = dataclasses.replace(SAMPLE, targets=SAMPLE.targets[:1])
    assert "on 192.0.2.10 port 443/tcp" in story.headline(one)


def test_success_is_claimed_only_from_data() -> None:
    """Nothing measured: nothing claimed. A probe that failed: not claimed."""
    unmeasured = dataclasses.replace(SAMPLE, users=Users(), verdict=())
    failed = dataclasses.replace(
        SAMPLE,
        verdict=(),
        users=dataclasses.replace(
            SAMPLE.users, probes=(dataclasses.replace(SAMPLE.users.probes[0], during_ok=35),)
        ),
    )
    for form in ("html", "md", "ncsc", "stix"):
        assert "very attempt failed" not in render(unmeasured, form)
        assert "very attempt failed" not in render(failed, form)
    going_on = dataclasses.replace(SAMPLE, state="open", verdict=())
    login = dataclasses.replace(SAMPLE.diversion[0], kind="admin_login")
    inside = dataclasses.replace(SAMPLE, verdict=(), diversion=(login,))
    for other in (going_on, inside):
        assert "very attempt failed" not in render(other, "md")
    assert "very attempt failed" in render(dataclasses.replace(SAMPLE, verdict=()), "md")
    assert story.probes_all_answered(unmeasured) is None
    assert story.probes_all_answered(failed) is False


def test_the_origins_note_stands_once() -> None:
    note = SAMPLE.origin.note
    told = dataclasses.replace(SAMPLE, verdict=(f"It came from many. {note}",))
    assert story.sentences(told) == ["It came from many."]
    assert Page(render(told, "html")).text.count(note) == 1


# --- Markdown ---


def test_markdown_is_short_and_whole() -> None:
    written = render(SAMPLE, "md")
    assert len(written) < 4_000  # what a chat takes in one message
    for expected in (
        "SYN flood",
        "98.9 %",
        "Russia 60.0 %",
        "`198.51.100.23`",
        "36 of 36",
        "may be forged",
        "CC BY 4.0",
    ):
        assert expected in written
    assert "|" not in written


def test_nothing_breaks_out_of_markdown() -> None:
    written = render(HOSTILE, "md")
    outside = re.sub(r"`[^`]*`", "", written)
    outside = re.sub(r"\\.", "", outside)
    assert not re.search(r"[<>\[\]`|~]", outside)
    assert not re.search(r"@\w|://", outside)
    # The only bold is our own.
    assert all(line.count("**") in {0, 2} for line in outside.splitlines())
    assert markdown.code("a`b\nc") == "`a'b c`"
    assert markdown.plain("- x") == "\\- x"


# --- JSON ---


def test_the_schema_is_that_of_the_record() -> None:
    """Made anew by: python -m tests.unit.incident.test_render"""
    assert record.schema() == schema()


def schema() -> dict[str, Any]:
    """What the shipped schema must be."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:xdpwall:incident:1",
        **json_schema(),
    }


@pytest.mark.parametrize("given_incident", [SAMPLE, EMPTY, HOSTILE], ids=["sample", "empty", "hostile"])
def test_json_fits_the_schema_and_comes_back(given_incident: Incident) -> None:
    written = render(given_incident, "json")
    data = json.loads(written)
    jsonschema.Draft202012Validator.check_schema(record.schema())
    jsonschema.validate(data, record.schema(), cls=jsonschema.Draft202012Validator)
    assert Incident.from_json(data) == given_incident
    assert written.isascii()


def test_the_schema_refuses_what_is_no_record() -> None:
    data = json.loads(render(SAMPLE, "json"))
    data["totals"]["packets"] = "many"
    with pytest.raises(jsonschema.ValidationError, match="many"):
        jsonschema.validate(data, record.schema(), cls=jsonschema.Draft202012Validator)


# --- STIX ---

# 301: "should contain both src_port and dst_port". The source ports of a flood are all of them.
KNOWN_WARNINGS = ("{301}",)


@pytest.mark.parametrize("given_incident", [SAMPLE, EMPTY, HOSTILE], ids=["sample", "empty", "hostile"])
def test_the_public_validator_accepts_the_bundle(given_incident: Incident) -> None:
    options = ValidationOptions(version="2.1", enforce_refs=True, strict_properties=True)
    result = validate_string(render(given_incident, "stix"), options)
    assert result.is_valid, result.errors
    assert [w for w in result.warnings if not any(known in str(w) for known in KNOWN_WARNINGS)] == []


def test_the_validator_would_refuse() -> None:
    broken = render(SAMPLE, "stix").replace('"relationship_type": "indicates"', '"relationship_type": ""')
    bad_time = render(SAMPLE, "stix").replace('"first_observed": "2', '"first_observed": "x')
    options = ValidationOptions(version="2.1")
    assert not validate_string(broken, options).is_valid
    assert not validate_string(bad_time, options).is_valid


def test_only_proven_sources_become_indicators() -> None:
    objects = json.loads(render(SAMPLE, "stix"))["objects"]
    proven = {source.source for source in SAMPLE.sources.top if source.proof == "handshake"}
    assert proven
    patterns = {obj["pattern"] for obj in objects if obj["type"] == "indicator"}
    assert patterns == {f"[ipv4-addr:value = '{address}']" for address in proven}
    values = {obj["value"] for obj in objects if obj["type"] == "ipv4-addr"}
    assert {source.source for source in SAMPLE.sources.top} <= values
    assert {obj["number"] for obj in objects if obj["type"] == "autonomous-system"} == {12389, 28573}


def test_references_of_the_bundle_lead_somewhere() -> None:
    objects = json.loads(render(SAMPLE, "stix"))["objects"]
    ids = [obj["id"] for obj in objects]
    assert len(ids) == len(set(ids))
    for obj in objects:
        for key, value in obj.items():
            for reference in [value] if key.endswith("_ref") else value if key.endswith("_refs") else []:
                assert reference in ids


def test_an_ipv6_source_is_a_prefix_in_the_bundle() -> None:
    source = dataclasses.replace(SAMPLE.sources.top[0], source="2001:db8:1:2::/64", proof="handshake")
    one = dataclasses.replace(SAMPLE, sources=Sources(1, False, 1, 1, (source,)))
    assert "[ipv6-addr:value ISSUBSET '2001:db8:1:2::/64']" in render(one, "stix")


# --- NCSC ---


def test_what_only_people_know_is_left_blank() -> None:
    lines = render(SAMPLE, "ncsc").splitlines()
    blank = {line.split(":")[0] for line in lines if line.endswith(ncsc.BLANK)}
    assert {
        "Organisation",
        "Name of the contact",
        "Users affected (number, where)",
        "Data lost, changed or disclosed",
    } <= blank
    filled = {line.split(":")[0] for line in lines if ":" in line} - blank
    assert {
        "Began",
        "Detected",
        "Ended",
        "Volume",
        "Peak",
        "Sources",
        "Country",
        "Vector",
        "Attacked",
    } <= filled
    assert not any(line.startswith("Demand") and not line.endswith(ncsc.BLANK) for line in lines)


def test_the_form_of_an_open_incident() -> None:
    written = render(EMPTY, "ncsc")
    assert "it is still going on" in written
    assert re.search(r"Measured on the host: +nothing", written)


def test_no_foreign_text_forges_a_line_of_the_form() -> None:
    one = dataclasses.replace(SAMPLE, origin=Origin(note="x\nOrganisation: Evil Ltd"), totals=Totals())
    assert not [line for line in render(one, "ncsc").splitlines() if line.startswith("Organisation: Evil")]
    assert TEXT not in render(HOSTILE, "ncsc")


if __name__ == "__main__":
    from xdpwall.incident.origin_open import shipped_path

    shipped_path().with_name("incident.schema.json").write_text(json.dumps(schema(), indent=2) + "\n")
