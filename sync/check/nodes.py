"""Checks of the nodes of Kamailio: whether each answers, and whether all rows belong to one."""

from collections.abc import Collection, Iterator, Mapping
from time import monotonic

from kamailio.errors import KamailioError
from kamailio.nodes import Nodes
from kamailio.rpc import JsonRpcClient
from kamailio.settings import LOCAL_NODE, KamailioSettings
from kamailio.survey import Survey, does_everything, survey
from sql.check.database import Facts
from sql.check.rows import COUNT_LIMIT
from sql.console.finding import Finding, Severity, passed
from sync.check.exposure import check_access, check_exposure, check_replies
from sync.check.survey import check_clock, check_matching, check_survey


def check_server_ids(rows: Mapping[int, int], numbers: Collection[int], *, filtering: str | None) -> Iterator[Finding]:
    """Report rows with a server_id that no node has.

    Args:
        rows: number of rows by server_id.
        numbers: server_ids of all nodes.
        filtering: name of a node with server_id_filter, which loads and cleans only the rows of its own server_id.
    """
    unknown = {server_id: count for server_id, count in rows.items() if server_id not in numbers}
    if not unknown or not numbers:
        return
    counted = ", ".join(
        f"{server_id} ({'over ' if count == COUNT_LIMIT else ''}{count})" for server_id, count in unknown.items()
    )
    if filtering is not None:
        yield Finding(
            "server_id_unknown",
            Severity.FAULT,
            f"rows have a server_id that no node has: {counted}, while {filtering} has server_id_filter",
            "no node loads or cleans these rows: such phones get no calls until they register again, and then the list "
            "shows them twice",
            "unset KAMAILIO_SERVER_ID_FILTER and restart that node: it loads the rows, and each gets its server_id "
            "with the next refresh; or name the node that has this server_id in REGISTRATIONS_KAMAILIO_RPC",
        )
        return
    yield Finding(
        "server_id_unknown",
        Severity.NOTE,
        f"rows have a server_id that no node has: {counted}",
        "without server_id_filter a node loads them when it starts, and each gets its server_id with the next refresh",
        "do not set KAMAILIO_SERVER_ID_FILTER until there are none",
    )


def check_nodes(
    nodes: Nodes,
    settings: KamailioSettings,
    *,
    facts: Facts | None,
    now_epoch: float | None,
    server_ids: Mapping[int, int],
) -> Iterator[Finding]:
    """Ask all nodes at the same time, and report the findings.

    Args:
        nodes: the nodes to ask.
        settings: the expected settings of the nodes.
        facts: about the database; None if it is unreachable.
        now_epoch: PostgreSQL's clock at this moment; None if it is unreachable.
        server_ids: number of rows by server_id.
    """
    started = monotonic()
    numbers, filtering = set(nodes.ids) - {LOCAL_NODE}, None

    def ask(_: int, client: JsonRpcClient) -> tuple[Survey, bool]:
        return survey(client), does_everything(client)

    for node, answer in nodes.on_each(nodes.ids, ask).items():
        url = nodes.url(node)
        name = f"Kamailio at {url}" if node == LOCAL_NODE else f"node {node}, Kamailio at {url}"
        if isinstance(answer, KamailioError):
            yield Finding(
                "node_unreachable",
                Severity.FAULT,
                f"{name} is unreachable: {answer}",
                "flushes of its registrations are not confirmed, and check-sync cannot be sent",
                "start it, or correct REGISTRATIONS_KAMAILIO_RPC; for HTTP it needs KAMAILIO_RPC_LISTEN, see "
                "registrations.cfg",
            )
            continue
        told, everything = answer
        if told.server_id is not None:
            numbers.add(told.server_id)
        if told.server_id_filter:
            filtering = name
        found = list(check_survey(name, told, node=node, settings=settings, facts=facts))
        if now_epoch is not None:
            clock = now_epoch + told.asked_at - started
            found += check_clock(name, told, clock=clock, facts=facts)
        found += check_exposure(name, url, everything=everything)
        found += check_access(name, url)
        found += check_replies(name, url)
        found += check_matching(name, url, told)
        if not found:
            mode = f"db_mode {told.db_mode}, use_domain {int(told.use_domain)}"
            yield passed("node", f"{name}: {told.version}, {mode}, serves all commands that we need, and only to us")
        yield from found
    yield from check_server_ids(server_ids, numbers, filtering=filtering)
