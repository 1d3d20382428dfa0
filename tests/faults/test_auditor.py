"""The auditor finds each violation in a made-up record, and none in one that is right."""
import unittest

from auditor import Auditor, Event, Records

OLD, NEW = "0000000001.0000000001", "0000000002.0000000002"


class Case(unittest.TestCase):
    """One run: its first attempt was killed, the second one is accepted."""

    def setUp(self):
        self.auditor, self.records = Auditor(), Records()
        self.auditor.submitted("r")
        self.auditor.acknowledged("r", when=1.0)
        self.events = [Event(1, "a0", "QUEUED", 0), Event(2, "a0", "QUEUED", 1), Event(3, "a0", "SUCCEEDED", 2)]
        self.outputs = {"a0": NEW}
        self.lines = [f"start {OLD} 1 10", f"start {NEW} 2 20", f"wrote {NEW} 2 30", f"end {NEW} 2 31"]
        self.effect = NEW

    def verdict(self):
        self.auditor.answer("r", self.events, self.outputs)
        self.records.add("r", "a0", "".join(f"{line}\n" for line in self.lines))
        if self.effect:
            self.records.effects["r", "a0"] = self.effect
        return self.auditor.verdict(self.records)

    def finds(self, rule, count=1):
        verdict = self.verdict()
        self.assertEqual([v.split(":")[0] for v in verdict.violations], [rule] * count, verdict.violations)
        self.assertFalse(verdict)
        self.assertIn(f"VIOLATION {count} x {rule}", verdict.text())


class Right(Case):
    def test_nothing_is_found(self):
        self.auditor.seen("r", 0.5, 0.9, None)
        self.auditor.seen("r", 1.1, 1.2, "QUEUED")
        self.auditor.seen("r", 2.0, 2.2, "SUCCEEDED", 2)
        self.auditor.seen("r", 2.1, 2.3, "QUEUED", 1)  # it was asked before the end was told
        self.auditor.seen("r", 2.4, 2.5, "SUCCEEDED", 2)
        verdict = self.verdict()
        self.assertEqual(verdict.violations, [])
        self.assertTrue(verdict)
        self.assertEqual(verdict.counts["attempts"], 2)
        self.assertEqual(verdict.counts["killed"], 1)
        self.assertIn("nothing is lost", verdict.text())

    def test_a_late_attempt_that_is_refused_is_right(self):
        self.lines += [f"refused {OLD} 1 40", f"end {OLD} 1 41"]
        verdict = self.verdict()
        self.assertTrue(verdict, verdict.violations)
        self.assertEqual(verdict.counts["refused effects"], 1)

    def test_the_number_may_be_the_same_under_a_later_epoch(self):
        self.lines[0] = f"start {OLD} 2 10"
        self.lines += [f"refused {OLD} 2 40", f"end {OLD} 2 41"]
        self.assertTrue(self.verdict())

    def test_a_submit_without_an_answer_may_be_gone(self):
        self.auditor.submitted("x")
        self.auditor.answer("x", None, {})
        self.assertTrue(self.verdict())

    def test_nothing_acknowledged_shows_nothing(self):
        self.assertFalse(Auditor().verdict(Records()))


class Lost(Case):
    def test_run(self):
        self.events, self.lines, self.effect = None, [], None
        self.records.lines.clear()
        self.finds("lost")

    def test_run_that_was_never_asked_for_in_the_end(self):
        self.auditor.submitted("s")
        self.auditor.acknowledged("s", when=1.0)
        self.finds("lost")

    def test_run_that_never_ends(self):
        self.events = self.events[:2]
        self.finds("lost")

    def test_child_that_was_acknowledged_to_its_parent(self):
        self.lines.insert(2, f"asked {NEW} 2 25 c0")
        self.finds("lost")

    def test_child_that_never_ends(self):
        self.lines.insert(2, f"asked {NEW} 2 25 c0")
        self.events.insert(2, Event(3, "c0", "QUEUED", 0))
        self.events[3] = Event(4, "a0", "SUCCEEDED", 2)
        self.finds("lost")

    def test_what_ran_was_there(self):
        self.records.add("r", "c1", f"start {NEW} 1 10\n")
        self.finds("lost")

    def test_answer_without_it_after_the_acknowledgement(self):
        self.auditor.seen("r", 1.5, 1.6, None)
        self.finds("lost")

    def test_answer_without_it_after_another_with_it(self):
        self.auditor.acks["r"] = (9.0, "SUCCEEDED")
        self.auditor.seen("r", 1.5, 1.6, "QUEUED")
        self.auditor.seen("r", 1.7, 1.8, None)
        self.finds("lost")


class Outcomes(Case):
    def test_two(self):
        self.events.append(Event(4, "a0", "FAILED", 2))
        self.finds("two outcomes")

    def test_the_same_twice(self):
        self.events.append(Event(4, "a0", "SUCCEEDED", 2))
        self.finds("two outcomes")

    def test_another_end_than_it_must_have(self):
        self.auditor.acknowledged("r", when=1.0, phase="FAILED")
        self.finds("wrong end")

    def test_that_no_worker_wrote_of(self):
        self.lines, self.effect = [], None
        self.auditor.answer("r", self.events, self.outputs)
        verdict = self.auditor.verdict(self.records)
        self.assertEqual([v.split(":")[0] for v in verdict.violations], ["no worker"])

    def test_that_no_worker_finished(self):
        self.lines.pop()
        self.finds("no worker")

    def test_of_an_attempt_that_was_superseded(self):
        self.events[2] = Event(3, "a0", "SUCCEEDED", 1)
        self.outputs["a0"] = self.effect = OLD
        self.lines = [f"start {OLD} 1 10", f"start {NEW} 2 20", f"wrote {OLD} 1 30", f"end {OLD} 1 31"]
        self.finds("superseded")

    def test_with_the_output_of_another_attempt(self):
        self.outputs["a0"] = OLD
        self.finds("another output")

    def test_a_gap_in_what_is_told(self):
        self.events[2] = Event(4, "a0", "SUCCEEDED", 2)
        self.finds("gap")


class Attempts(Case):
    def test_numbers_that_shrink_in_what_is_told(self):
        self.events.insert(2, Event(3, "a0", "QUEUED", 3))
        self.events[3] = Event(4, "a0", "SUCCEEDED", 2)
        self.finds("attempts shrink")

    def test_number_that_does_not_grow_with_the_token(self):
        self.lines[0] = f"start {OLD} 3 10"
        self.finds("attempts shrink")

    def test_number_that_shrinks_for_a_client(self):
        self.auditor.seen("r", 1.5, 1.6, "RUNNING", 2)
        self.auditor.seen("r", 1.7, 1.8, "RUNNING", 1)
        self.finds("attempts shrink")

    def test_started_twice(self):
        self.lines.insert(1, f"start {OLD} 1 11")
        self.finds("started twice")


class Alone(Case):
    def setUp(self):
        super().setUp()
        self.lines[1:1] = [f"beat {OLD} 1 12", f"beat {OLD} 1 20"]

    def test_one_after_the_other(self):
        verdict = self.verdict()
        self.assertTrue(verdict, verdict.violations)
        self.assertEqual(verdict.counts["attempts alone"], 2)

    def test_two_at_a_time(self):
        self.lines.append(f"beat {OLD} 1 21")
        self.finds("two at a time")


class Final(Case):
    def test_changes_in_what_is_told(self):
        self.events.append(Event(4, "a0", "RUNNING", 2))
        self.finds("not final")

    def test_goes_back_for_a_client(self):
        self.auditor.seen("r", 2.0, 2.1, "SUCCEEDED", 2)
        self.auditor.seen("r", 2.2, 2.3, "RUNNING", 2)
        self.finds("not final")

    def test_was_another_one_before(self):
        self.auditor.seen("r", 2.0, 2.1, "FAILED", 1)
        self.finds("not final")

    def test_was_of_another_attempt_before(self):
        self.auditor.seen("r", 2.0, 2.1, "SUCCEEDED", 1)
        self.finds("not final")


class Effects(Case):
    def test_older_over_newer(self):
        self.lines.append(f"wrote {OLD} 1 40")
        self.effect = OLD
        self.finds("effect", 2)  # the write itself, and what is left

    def test_of_another_attempt_is_left(self):
        self.effect = OLD
        self.finds("effect")


class Records_(Case):
    def test_unreadable(self):
        self.lines.append("sta")
        self.finds("unreadable record")

    def test_nobody_asked_for_it(self):
        self.records.add("z", "a0", f"start {NEW} 1 10\n")
        self.finds("not asked for")


if __name__ == "__main__":
    unittest.main()
