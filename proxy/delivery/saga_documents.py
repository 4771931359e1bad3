"""What is shown of sagas: to their callers, and to operators. Never an answer's body."""

import json
from typing import Any

from proxy.delivery.entries import instant
from proxy.policies.saga_rules import Phase
from proxy.store.records import SagaRecord


def accepted_document(record: SagaRecord) -> dict[str, Any]:
    """For the caller of its start."""
    return {
        "id": record.id,
        "state": record.state,
        "accepted_at": instant(json.loads(record.journal)["accepted_at"]),
    }


def status_document(record: SagaRecord) -> dict[str, Any]:
    """For its caller: each step in the phase in which it is."""
    journal = json.loads(record.journal)
    return {
        "id": record.id,
        "saga": record.name,
        "state": record.state,
        "accepted_at": instant(journal["accepted_at"]),
        "finished_at": instant(journal["finished_at"]),
        **({"aborted": True} if journal["aborted"] else {}),
        "steps": [_step(step) for step in journal["steps"]],
    }


def operator_document(record: SagaRecord) -> dict[str, Any]:
    """The same for operators: with the token, the next try, and every try that is remembered."""
    journal = json.loads(record.journal)
    shown = status_document(record)
    for step, kept in zip(shown["steps"], journal["steps"], strict=True):
        step["reason"] = kept[step["phase"]]["reason"] or None
        step["next_attempt_at"] = (
            instant(kept[step["phase"]]["next_at"]) if step["state"] == "waiting" else None
        )
        step["tries"] = [
            {
                "phase": phase.value,
                "began": instant(began),
                "duration_ms": round((ended - began) * 1000),
                "status": status or None,
                "reason": reason or None,
            }
            for phase in Phase
            for began, ended, status, reason in kept[phase.value]["tries"]
        ]
    return {"token": record.token, "owned": record.owned, **shown}


def row_document(record: SagaRecord) -> dict[str, Any]:
    """A line of a list."""
    journal = json.loads(record.journal)
    return {
        "token": record.token,
        "id": record.id,
        "saga": record.name,
        "state": record.state,
        "accepted_at": instant(journal["accepted_at"]),
        "finished_at": instant(journal["finished_at"]),
        "step": _where(journal),
    }


def _where(journal: dict[str, Any]) -> str | None:
    """The step where it is: the one in hand, waiting or stuck."""
    for step in journal["steps"]:
        for phase in ("do", "undo"):
            if step[phase]["state"] in ("trying", "waiting", "stuck"):
                name = str(step["name"])
                return name if phase == "do" else f"{name} (undo)"
    return None


def _step(step: dict[str, Any]) -> dict[str, Any]:
    phase = "do" if step["undo"]["state"] == "pending" else "undo"
    progress = step[phase]
    last = progress["tries"][-1] if progress["tries"] else None
    return {
        "name": step["name"],
        "phase": phase,
        "state": progress["state"],
        "attempts": progress["attempts"],
        "last": None
        if last is None
        else {"status": last[2] or None, "reason": last[3] or None, "at": instant(last[1])},
    }
