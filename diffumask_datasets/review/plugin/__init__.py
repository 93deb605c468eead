"""The FiftyOne plugin: accept, reject and undo for what is selected, or for the sample that is open.

Copied whole into FiftyOne's plugin folder, so it imports nothing of this package.
"""

from __future__ import annotations

from typing import Any

import fiftyone.operators as foo
from fiftyone.operators import types

ACCEPTED, REJECTED = "accepted", "rejected"


class _Verdict(foo.Operator):
    """Tags the samples and takes away the opposite tag."""

    name_, label, icon, verdict = "", "", "", ""

    @property
    def config(self) -> Any:
        """What the App's operator list (key ``) shows."""
        return foo.OperatorConfig(name=self.name_, label=self.label, icon=self.icon, dynamic=True)

    def resolve_input(self, ctx: Any) -> Any:
        """Asks for a reason, which may stay empty."""
        inputs = types.Object()
        if self.verdict == REJECTED:
            inputs.str("reason", label="Reason (may be empty)", required=False)
        return types.Property(inputs, view=types.View(label=f"{self.label} ({len(_chosen(ctx))})"))

    def resolve_placement(self, ctx: Any) -> Any:
        """A button above the grid and in the open sample; both are reached by Tab and pressed by Enter."""
        button = types.Button(label=self.label, icon=self.icon, prompt=False)
        return types.Placement(types.Places.SAMPLES_GRID_SECONDARY_ACTIONS, button)

    def execute(self, ctx: Any) -> dict[str, int]:
        """Tags and reports how many samples were decided."""
        chosen = ctx.dataset.select(_chosen(ctx))
        chosen.untag_samples([ACCEPTED, REJECTED])
        if self.verdict:
            chosen.tag_samples(self.verdict)
        chosen.set_field("reason", ctx.params.get("reason") or None).save("reason")
        ctx.ops.reload_dataset()
        return {"count": len(chosen)}


class AcceptSamples(_Verdict):
    """Accept."""

    name_, label, icon, verdict = "accept_samples", "Accept", "check", ACCEPTED


class RejectSamples(_Verdict):
    """Reject, with a reason."""

    name_, label, icon, verdict = "reject_samples", "Reject", "close", REJECTED


class ClearVerdicts(_Verdict):
    """Back to undecided."""

    name_, label, icon, verdict = "clear_verdicts", "Undo verdict", "undo", ""


def register(plugin: Any) -> None:
    """Called by FiftyOne when it loads the plugin."""
    for operator in (AcceptSamples, RejectSamples, ClearVerdicts):
        plugin.register(operator)


def _chosen(ctx: Any) -> list[str]:
    return [ctx.current_sample] if ctx.current_sample else list(ctx.selected or ())
