"""Text of files: bytes of any encoding in, a string out."""

import re


def decode(data: bytes) -> str:
    """Text of any encoding: UTF-8, UTF-16 with its mark, or what charset-normalizer guesses."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        import charset_normalizer

        beyond_ascii = b"\n".join(re.findall(rb"[^\n]*[\x80-\xff][^\n]*", data)[:1000])
        guess = charset_normalizer.from_bytes(beyond_ascii).best()
        return data.decode(guess.encoding if guess else "latin-1", errors="replace")
