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
    place = types.Places.SAMPLES_GRID_SECONDARY_ACTIONS
    unlisted = False

    @property
    def config(self) -> Any:
        """What the App's operator list (key ``) shows."""
        return foo.OperatorConfig(name=self.name_, label=self.label, icon=self.icon, unlisted=self.unlisted)

    def resolve_input(self, ctx: Any) -> Any:
        """Asks for a reason, which may stay empty; the buttons do not ask."""
        inputs = types.Object()
        if self.verdict == REJECTED:
            inputs.str("reason", label="Reason (may be empty)", required=False)
        return types.Property(inputs, view=types.View(label=f"{self.label} ({len(_chosen(ctx))})"))

    def resolve_placement(self, ctx: Any) -> Any:
        """A button, reached by Tab and pressed by Enter."""
        return types.Placement(self.place, types.Button(label=self.label, icon=self.icon, prompt=False))

    def execute(self, ctx: Any) -> dict[str, int]:
        """Tags and reports how many samples were decided."""
        ids = _chosen(ctx)
        if not ids:
            ctx.ops.notify("Select samples first, or open one", variant="warning")
            return {"count": 0}
        chosen = ctx.dataset.select(ids)
        chosen.untag_samples([ACCEPTED, REJECTED])
        if self.verdict:
            chosen.tag_samples(self.verdict)
        chosen.set_field("reason", ctx.params.get("reason") or None).save("reason")
        # Decided samples leave the selection, or the next verdict would be theirs too.
        ctx.ops.clear_selected_samples()
        ctx.ops.reload_samples()
        ctx.ops.notify(f"{self.verdict or 'undecided'}: {len(ids)}", variant="success")
        return {"count": len(ids)}


class AcceptSamples(_Verdict):
    """Accept what is selected in the grid."""

    name_, label, icon, verdict = "accept_samples", "Accept", "check", ACCEPTED


class RejectSamples(_Verdict):
    """Reject what is selected in the grid, with a reason."""

    name_, label, icon, verdict = "reject_samples", "Reject", "close", REJECTED


class ClearVerdicts(_Verdict):
    """Back to undecided."""

    name_, label, icon, verdict = "clear_verdicts", "Undo verdict", "undo", ""


# An operator has one place: those beside an open sample are operators of their own.


class AcceptOpenSample(AcceptSamples):
    """Accept the sample that is open."""

    name_, place, unlisted = "accept_open_sample", types.Places.SAMPLES_VIEWER_ACTIONS, True


class RejectOpenSample(RejectSamples):
    """Reject the sample that is open."""

    name_, place, unlisted = "reject_open_sample", types.Places.SAMPLES_VIEWER_ACTIONS, True


class ClearOpenVerdict(ClearVerdicts):
    """The sample that is open goes back to undecided."""

    name_, place, unlisted = "clear_open_verdict", types.Places.SAMPLES_VIEWER_ACTIONS, True


OPERATORS = (AcceptSamples, RejectSamples, ClearVerdicts, AcceptOpenSample, RejectOpenSample, ClearOpenVerdict)


def register(plugin: Any) -> None:
    """Called by FiftyOne when it loads the plugin."""
    for operator in OPERATORS:
        plugin.register(operator)


def _chosen(ctx: Any) -> list[str]:
    return [ctx.current_sample] if ctx.current_sample else list(ctx.selected or ())
