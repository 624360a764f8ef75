"""One table of everything: medians with the least and the greatest, the ratio to the best peer, and the goal."""

from statistics import median

# By workload and figure: the most (or, where more is better, the least) of ours for one of the best peer's.
RATIOS = {
    ("qos1", "messages/s"): ("at least", 1.0),
    ("qos1", "processor, ms for 1,000"): ("at most", 0.7),
    ("qos1", "memory at most, MiB"): ("at most", 0.6),
    ("qos1-50ms", "messages/s"): ("at least", 1.3),
    ("qos0", "messages/s"): ("at least", 1.0),
    ("qos0", "processor, ms for 1,000"): ("at most", 1.0),
    ("telemetry", "p50, ms"): ("at most", 0.4),
    ("command", "p50, ms"): ("at most", 1.0),
    ("command", "p99, ms"): ("at most", 1.0),
    ("command-loaded", "p50, ms"): ("at most", 1.0),
    ("command-loaded", "p99, ms"): ("at most", 1.0),
    ("refused", "first, s"): ("at most", 1.0),
    ("refused", "drained, s"): ("at most", 1.0),
    ("swallowed", "first, s"): ("at most", 1.0),
    ("swallowed", "drained, s"): ("at most", 1.0),
}
# Absolute bounds of ours.
BOUNDS = {
    ("refused", "grown, MiB"): 3,
    ("swallowed", "grown, MiB"): 3,
    ("start", "start to first message, ms"): 100,
    ("idle", "resident, MiB"): 12,
    ("idle", "threads"): 4,
    ("idle", "wake-ups a minute"): 120,
    ("idle", "processor, ms a minute"): 20,
    ("idle", "line, bytes an hour"): 3000,
    ("idle", "KB for each of 1,000 idle clients"): 5,
}
# What must never happen to ours, in any round; the sum counts.
NEVER = {"lost", "out of order"}


class Table:
    def __init__(self, ours):
        self.ours, self.samples, self.failures = ours, {}, []

    def add(self, workload, peer, values):
        for figure, value in values.items():
            self.samples.setdefault((workload, figure), {}).setdefault(peer, []).append(value)

    def fail(self, workload, peer, error):
        self.failures.append((workload, peer, str(error)))

    def text(self):
        lines = ["| workload | figure | " + " | ".join(self.peers()) + " | ours to the best other | goal | |"]
        lines.append("| --- | --- |" + " --- |" * (len(self.peers()) + 3))
        for (workload, figure), by_peer in self.samples.items():
            shown = [spread(by_peer.get(peer)) for peer in self.peers()]
            ratio, goal, verdict = self.judged(workload, figure, by_peer)
            lines.append(f"| {workload} | {figure} | " + " | ".join(shown) + f" | {ratio} | {goal} | {verdict} |")
        lines += [f"\n{peer}, {workload}: {error}" for workload, peer, error in self.failures]
        return "\n".join(lines)

    def peers(self):
        return list(dict.fromkeys(peer for by_peer in self.samples.values() for peer in by_peer))

    def judged(self, workload, figure, by_peer):
        ours = by_peer.get(self.ours)
        others = [median(values) for peer, values in by_peer.items() if peer != self.ours]
        if not ours:
            return "", "", ""
        if figure in NEVER:
            return "", "0", met(sum(ours) == 0)
        if bound := BOUNDS.get((workload, figure)):
            return "", f"at most {bound}", met(median(ours) <= bound)
        how, goal = RATIOS.get((workload, figure), (None, None))
        if not how or not others:
            return "", "", ""
        is_more_better = how == "at least"
        best = max(others) if is_more_better else min(others)
        ratio = median(ours) / best if best else float("inf")
        return f"{ratio:.2f}", f"{how} {goal}", met(ratio >= goal if is_more_better else ratio <= goal)

    def verdict(self):
        """1: ours lost something, put something out of order, or did not come to an end."""
        bad = [key for key, by_peer in self.samples.items() if key[1] in NEVER and sum(by_peer.get(self.ours, [])) > 0]
        bad += [failure for failure in self.failures if failure[1] == self.ours]
        return 1 if bad else 0


def met(is_met):
    return "met" if is_met else "**missed**"


def spread(values):
    if not values:
        return ""
    middle = show(median(values))
    return middle if len(values) == 1 else f"{middle} ({show(min(values))}..{show(max(values))})"


def show(value):
    if value == int(value) or abs(value) >= 1000:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
