"""The formats on the wire: bytes in, events out, and back. Nothing here opens a socket."""
