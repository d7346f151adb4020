"""What a source lists, and files to list."""


def listing(source) -> list[tuple[str, str | None]]:
    return [(source.key(index), source.identity(index)) for index in range(len(source))]


def touch(path, content: bytes = b"x") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
