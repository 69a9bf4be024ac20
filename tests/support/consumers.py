"""Consumers of text, bytes and event streams: for each usual mistake one that makes it, and one that does not."""

from __future__ import annotations

import codecs
import json
import re

from fakellm.wire.sse import SSEDecoder

# -- tags: (thinking, text) of an answer with <think> tags -----------------------------------------------


def tags_right(chunks):
    """Hold back only what could become a tag, and release it at the end."""
    parts, inside, held = {True: "", False: ""}, False, ""
    for chunk in chunks:
        held += chunk
        while held:
            tag = "</think>" if inside else "<think>"
            before, found, after = held.partition(tag)
            if found:
                parts[inside] += before
                inside, held = not inside, after
                continue
            keep = next((n for n in range(min(len(tag), len(held)), 0, -1) if tag.startswith(held[-n:])), 0)
            parts[inside] += held[: len(held) - keep]
            held = held[len(held) - keep :]
            break
    parts[inside] += held
    return parts[True], parts[False]


def tags_in_each_chunk(chunks):
    parts, inside = {True: "", False: ""}, False
    for chunk in chunks:
        for piece in re.split(r"(</?think>)", chunk):
            if piece in ("<think>", "</think>"):
                inside = piece == "<think>"
            else:
                parts[inside] += piece
    return parts[True], parts[False]


def tags_held_for_ever(chunks):
    shown, held = "", ""
    for chunk in chunks:
        text = held + chunk
        at = text.rfind("<")
        shown, held = (shown + text[:at], text[at:]) if at >= 0 and ">" not in text[at:] else (shown + text, "")
    return shown


def tags_dropped_when_alone(chunks):
    """Take a chunk that is a tag for one, and forget that one may end in the middle of a chunk."""
    return "".join(chunk for chunk in chunks if not re.fullmatch(r"</?\w*", chunk))


# -- stop sequences: the text before END -----------------------------------------------------------------


def stop_right(chunks):
    held = ""
    for chunk in chunks:
        held += chunk
        before, found, _ = held.partition("END")
        if found:
            yield before
            return
        keep = next((n for n in (2, 1) if held.endswith("END"[:n])), 0)
        yield held[: len(held) - keep]
        held = held[len(held) - keep :]
    yield held


def stop_shown_in_parts(chunks):
    for chunk in chunks:
        before, found, _ = chunk.partition("END")
        yield before
        if found:
            return


def stop_swallows_near_misses(chunks):
    """Hold back what could become the stop sequence, and forget it when it does not."""
    held = ""
    for chunk in chunks:
        before, found, _ = (held + chunk).partition("END")
        if found:
            yield before
            return
        held = next((before[-n:] for n in (2, 1) if before.endswith("END"[:n])), "")
        yield before.removesuffix(held)


# -- UTF-8 -------------------------------------------------------------------------------------------------


def utf8_right(chunks):
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    return "".join(map(decoder.decode, chunks)) + decoder.decode(b"", final=True)


def utf8_replaced(chunks):
    return "".join(chunk.decode("utf-8", "replace") for chunk in chunks)


def utf8_ignored(chunks):
    return "".join(chunk.decode("utf-8", "ignore") for chunk in chunks)


def utf8_strict(chunks):
    return "".join(chunk.decode() for chunk in chunks)


# -- JSON --------------------------------------------------------------------------------------------------


def json_right(chunks):
    return json.loads("".join(chunks))


def json_when_it_looks_complete(chunks):
    text, value = "", None
    for chunk in chunks:
        text += chunk
        if text.endswith("}"):
            value = json.loads(text)
    return value


def json_unescaped_by_chunk(chunks):
    return "".join(re.sub(r"\\u(\w{4})", lambda m: chr(int(m[1], 16)), chunk) for chunk in chunks)


# -- event streams -------------------------------------------------------------------------------------------


def sse_right(chunks):
    decoder = SSEDecoder()
    for chunk in chunks:
        yield from (event.data for event in decoder.feed(chunk))
    yield from (event.data for event in decoder.close())


def sse_by_read(chunks):
    for chunk in chunks:
        for block in chunk.split(b"\n\n"):
            if block.startswith(b"data: "):
                yield block[6:].decode()


def _by_line(lines):
    return [line[6:].decode() for line in lines if line.startswith(b"data: ")]


def sse_line_feeds_only(chunks):
    blocks = b"".join(chunks).removeprefix(codecs.BOM_UTF8).split(b"\n\n")
    return _by_line(blocks)


def sse_line_ends_by_read(chunks):
    """Write the line ends anew in each read: between CR and LF that makes two of one."""
    body = b"".join(chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n") for chunk in chunks)
    return [(event.event, event.data) for event in SSEDecoder().feed(body)]


def sse_every_block_is_an_event(chunks):
    text = b"".join(chunks).decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    found = []
    for block in text.split("\n\n"):
        if block:
            data = "\n".join(line[6:] for line in block.split("\n") if line.startswith("data: "))
            found.append(data if data == "[DONE]" else json.loads(data))
    return found


def sse_with_its_bom(chunks):
    text = b"".join(chunks).decode().replace("\r\n", "\n").replace("\r", "\n")
    return [line[6:] for line in text.split("\n") if line.startswith("data: ")]


# -- white space, the last chunk -------------------------------------------------------------------------------


def text_right(chunks):
    return "".join(chunks)


def text_stripped(chunks):
    return "".join(chunk.strip() for chunk in chunks)


def text_without_blank_chunks(chunks):
    return "".join(chunk for chunk in chunks if chunk.strip())


def text_until_an_empty_chunk(chunks):
    text = ""
    for chunk in chunks:
        if not chunk:
            break
        text += chunk
    return text


def text_without_the_last_chunk(chunks):
    """Look one chunk ahead, and forget the last where it is short."""
    text, last = "", ""
    for chunk in chunks:
        text, last = text + last, chunk
    return text + (last if len(last) > 1 else "")


def text_until_done(chunks):
    """Take a chunk that reads [DONE] for the end: seen by no single cut and by no window of three."""
    text = ""
    for chunk in chunks:
        if chunk == "[DONE]":
            break
        text += chunk
    return text


# -- graphemes ---------------------------------------------------------------------------------------------------


def grapheme_right(chunks):
    """Cut anew, every five code points."""
    text = "".join(chunks)
    return [text[at : at + 5] for at in range(0, len(text), 5)]


def grapheme_by_bytes(chunks):
    for chunk in chunks:
        data = chunk.encode()
        yield from (data[at : at + 5] for at in range(0, len(data), 5))


def grapheme_by_utf16(chunks):
    for chunk in chunks:
        data = chunk.encode("utf-16-le")
        yield from (data[at : at + 2].decode("utf-16-le", "surrogatepass") for at in range(0, len(data), 2))


def grapheme_loses_marks(chunks):
    """Normalise a mark away that begins a chunk."""
    return "".join(re.sub("^[\u0300-\u036f\u200d]+", "", chunk) for chunk in chunks)


BROKEN = [
    ("tags", tags_in_each_chunk),
    ("tags", tags_held_for_ever),
    ("tags", tags_dropped_when_alone),
    ("stop_sequence", stop_shown_in_parts),
    ("stop_sequence", stop_swallows_near_misses),
    ("utf8_split", utf8_replaced),
    ("utf8_split", utf8_ignored),
    ("utf8_split", utf8_strict),
    ("partial_json", json_when_it_looks_complete),
    ("partial_json", json_unescaped_by_chunk),
    ("framing", sse_by_read),
    ("line_ends", sse_line_feeds_only),
    ("line_ends", sse_line_ends_by_read),
    ("control_blocks", sse_every_block_is_an_event),
    ("control_blocks", sse_with_its_bom),
    ("whitespace_tail", text_stripped),
    ("whitespace_tail", text_without_blank_chunks),
    ("whitespace_tail", text_until_an_empty_chunk),
    ("whitespace_tail", text_without_the_last_chunk),
    ("grapheme", grapheme_by_bytes),
    ("grapheme", grapheme_by_utf16),
    ("grapheme", grapheme_loses_marks),
]
"""(contract, consumer that breaks it)."""

RIGHT = {
    "tags": tags_right,
    "stop_sequence": stop_right,
    "utf8_split": utf8_right,
    "partial_json": json_right,
    "framing": sse_right,
    "line_ends": sse_right,
    "control_blocks": sse_right,
    "whitespace_tail": text_right,
    "grapheme": grapheme_right,
}
"""Contract -> a consumer that keeps it."""
