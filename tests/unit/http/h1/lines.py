"""A head's fields as lines, for tests to compare."""


def lines(head):
    """The fields that go on, each as HTTP/1 writes it."""
    made = [b"%b: %b\r\n" % (field.name.text, field.value) for field in head.fields]
    assert made == [field.line + b"\r\n" for field in head.fields]
    return made
