"""A consumer that decodes each read by itself: wrong where a read ends inside a character."""


def answer(chunks):
    return "".join(chunk.decode() for chunk in chunks)
