"""Charts of a run, by altair."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wimhf._errors import InputError

if TYPE_CHECKING:
    from wimhf._run import Run


class Plots:
    """Charts of a run."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def principles(self) -> Any:
        """Each principle's difference in win rate, in percentage points, with its 95 % interval."""
        altair = _altair()
        rows = [
            {
                "principle": principle["statement"],
                "points": 100 * principle["win_delta"],
                "low": 100 * principle["win_low"],
                "high": 100 * principle["win_high"],
                "n": principle["n"],
            }
            for principle in self._run.findings["principles"]
        ]
        base = altair.Chart(altair.Data(values=rows)).encode(y=altair.Y("principle:N", sort=None, title=None))
        axis = altair.Title("Difference in win rate, points (95 % interval)") if hasattr(altair, "Title") else None
        whiskers = base.mark_rule().encode(x=altair.X("low:Q", title="difference in win rate, points"), x2="high:Q")
        points = base.mark_point(filled=True).encode(
            x="points:Q", tooltip=["principle:N", "points:Q", "low:Q", "high:Q", "n:Q"]
        )
        chart = whiskers + points
        return chart.properties(title=axis) if axis is not None else chart

    def ablation(self) -> Any:
        """How well sets of features tell held-out labels: AUC with 95 % intervals."""
        altair = _altair()
        rows = [
            {"features": name, "auc": rung["value"], "low": rung["low"], "high": rung["high"]}
            for name, rung in self._run.ablation["auc"].items()
            if rung is not None
        ]
        base = altair.Chart(altair.Data(values=rows)).encode(y=altair.Y("features:N", sort=None, title=None))
        scale = altair.Scale(zero=False)
        whiskers = base.mark_rule().encode(x=altair.X("low:Q", title="AUC on held-out labels", scale=scale), x2="high:Q")
        points = base.mark_point(filled=True).encode(x=altair.X("auc:Q", scale=scale), tooltip=["features:N", "auc:Q", "low:Q", "high:Q"])
        return whiskers + points


def _altair() -> Any:
    try:
        import altair
    except ImportError:
        raise InputError("plots need altair, which is not installed\nhint: pip install 'wimhf[plot]'") from None
    return altair
