"""What the environment and ``--proxy`` say about proxies, as this process finds it.

Spec: docs/spec/proxies.md [PX-1] [PX-2]; the rule itself is ``connection/roads/proxies.py``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from wraith.connection.roads.proxies import AUTO, ProxyPlan, proxy_plan
from wraith.errors import MissingExtra

#: Every variable that counts, for whoever starts a process without them.
VARIABLES = tuple(
    name for upper in ("ALL_PROXY", "HTTPS_PROXY", "NO_PROXY") for name in (upper.lower(), upper)
)


def plan_proxies(choice: str = AUTO, environ: Mapping[str, str] | None = None) -> ProxyPlan:
    """The plan for ``--proxy CHOICE``.

    Without the extra a proxy that was asked for, or that everything must go through, is an error;
    one that is only tried beside direct roads is left out with a note.

    Raises:
        ConfigError: a URL is not accepted.
        MissingExtra: see above.
    """
    plan = proxy_plan(choice, os.environ if environ is None else environ)
    if plan.proxy is None:
        return plan
    from wraith.aio.transports.proxy import EXTRA, proxies_are_installed  # few hosts have a proxy

    if proxies_are_installed():
        return plan
    missing = MissingExtra(EXTRA, f"the proxy {plan.proxy} ({plan.source})")
    if plan.is_only or choice != AUTO:
        raise missing
    return ProxyPlan(note=f"{missing}, so roads are direct; {missing.hint}")
