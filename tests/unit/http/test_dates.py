from proxy.http.dates import DateText


def test_it_is_made_once_a_second() -> None:
    date = DateText()
    first = date.at(784111777.2)
    assert first == b"Sun, 06 Nov 1994 08:49:37 GMT"
    assert date.at(784111777.9) is first
    assert date.at(784111778.0) == b"Sun, 06 Nov 1994 08:49:38 GMT"
    assert date.at(784111777.0) == first
