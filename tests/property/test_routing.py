"""Finding a route by host and path gives the same as asking all routes in the file's order."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from proxy.config.match import MatchConfig, ValueMatch
from proxy.config.model import Listener, RouteConfig
from proxy.routing.lookup import ListenerRoutes
from proxy.routing.route import Route


@dataclass(frozen=True)
class Request:
    method: str
    host: str
    path: str
    query: str = ""
    headers: dict[bytes, list[bytes]] = field(default_factory=dict)

    def values(self, name: bytes) -> list[bytes]:
        return self.headers.get(name, [])


labels = st.sampled_from(["a", "b", "shop"])
names = st.lists(labels, min_size=1, max_size=4).map(".".join)
patterns = st.one_of(names, names.map("*.{}".format), st.just("*"))
segments = st.lists(st.sampled_from(["a", "b", "ab", ""]), max_size=4).map("/".join)
paths = st.one_of(segments.map("/{}".format), st.just("*"))
prefixes = segments.map(lambda text: f"/{text}".rstrip("/") or "/")
regexes = st.sampled_from(
    ["/a/.*", "/a.*", "/(a|b)/ab", ".*", "/a|/b/a", "/ab/a(/.*)?", "[*]", "/a/b/[ab]+", "(/a)?/b"]
)


@st.composite
def matches(draw: st.DrawFn) -> MatchConfig:
    path = draw(st.sampled_from(["prefix", "path", "regex", None]))
    given = {"prefix": prefixes, "path": segments.map("/{}".format), "regex": regexes}
    return MatchConfig(
        hosts=tuple(draw(st.lists(patterns, max_size=3))),
        methods=draw(st.sampled_from([frozenset(), frozenset({"GET"}), frozenset({"POST"})])),
        headers=draw(st.sampled_from([(), (("x", ValueMatch(exact="1")),)])),
        **({path: draw(given[path])} if path else {}),
    )


requests = st.builds(
    Request,
    st.sampled_from(["GET", "POST", "PUT"]),
    st.one_of(names, st.sampled_from(["", ".shop", "a..shop", "x.y.z"])),
    paths,
    headers=st.sampled_from([{}, {b"x": [b"1"]}]),
)


@given(st.lists(matches(), max_size=12), st.lists(requests, min_size=1, max_size=20))
def test_the_first_match_of_the_file_wins(
    configured: list[MatchConfig], asked: list[Request]
) -> None:
    written = tuple(
        Route(RouteConfig(f"r{order}", match=match), order)
        for order, match in enumerate(configured)
    )
    default = Route(RouteConfig("default", Listener.OUTBOUND), len(written))
    found = ListenerRoutes(written, default, few=0)
    for request in asked:
        first = next((route for route in written if route.matches(request)), default)
        assert found.match(request) is first
