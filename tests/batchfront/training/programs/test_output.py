"""What a program tells becomes evaluations, exactly or not at all."""

import json
import logging
import math
import random
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from batchfront.errors import ProgramError
from batchfront.outcomes import Evaluation
from batchfront.training.programs.output import OutputReader
from batchfront.workload.sweep_file import read_sweep_file
from tests.sweep_files import written

Make = Callable[..., OutputReader]

PATTERN = r"output = 'step (?P<step>\S+) .*val_loss (?P<value>\S+)'"


@pytest.fixture
def reader(tmp_path: Path) -> Make:
    """Reads what a program tells whose sweep file says this of its output."""

    def make(
        output: str = PATTERN,
        batch_size: int = 8,
        before: Iterable[Evaluation] = (),
        more: str = "",
        name: str = "shakespeare/char_gpt/adamw",
    ) -> OutputReader:
        named = ("shakespeare/char_gpt/adamw", name)
        path = written(tmp_path, (PATTERN, f"{output}\n{more}"), named)
        return OutputReader(read_sweep_file(path).program, batch_size, list(before))

    return make


def told(reader: OutputReader, *lines: object) -> list[tuple[int, float | None, float]]:
    """Step, loss and value of the evaluations in lines, or in objects."""
    found = []
    for line in lines:
        found += reader.take(line)  # type: ignore[arg-type]
    return [evaluation[:3] for evaluation in found]


def test_a_line_that_matches_is_an_evaluation_and_any_other_is_none(reader: Make) -> None:
    lines = (
        "step 10 train 2.0 val_loss 1.5",
        "saving",
        "",
        "step 20 lr 0.1",
        "  step 30 val_loss 1",
    )
    assert told(reader(), *lines) == [(10, None, 1.5), (30, None, 1.0)]


def test_a_loss_is_the_mean_of_those_told_since_the_evaluation_before(reader: Make) -> None:
    output = r"output = 'step (?P<step>\d+) loss (?P<loss>\S+)( val (?P<value>\S+))?'"
    lines = ("step 1 loss 4", "step 2 loss 2", "step 3 loss 3 val 1", "step 4 loss 1 val 0.5")
    assert told(reader(output), *lines) == [(3, 3.0, 1.0), (4, 1.0, 0.5)]
    ((_, loss, _),) = told(reader(output), "step 1 loss nan", "step 2 loss 2 val 1")
    assert loss is not None
    assert math.isnan(loss)


def test_a_step_and_its_value_may_stand_in_lines_of_their_own(reader: Make) -> None:
    """As those of pytorch/examples' mnist do."""
    output = (
        r"output = 'Train Epoch: (?P<epoch>\d+) .*Loss: (?P<loss>[\d.]+)"
        r"|Test set: Average loss: (?P<value>[\d.]+)'"
    )
    lines = (
        "Train Epoch: 1 [0/600 (0%)]\tLoss: 2.300039",
        "Train Epoch: 1 [320/600 (53%)]\tLoss: 1.300039",
        "",
        "Test set: Average loss: 0.2031, Accuracy: 9400/10000 (94%)",
        "Train Epoch: 2 [0/600 (0%)]\tLoss: 0.5",
        "Test set: Average loss: 0.1, Accuracy: 9700/10000 (97%)",
    )
    found = reader(output, batch_size=32, more="train_examples = 600")
    assert told(found, *lines) == [(19, pytest.approx(1.800039), 0.2031), (38, 0.5, 0.1)]


def test_a_value_is_at_the_step_of_its_own_stream(reader: Make) -> None:
    found = reader(r"output = 'step (?P<step>\d+)|val_loss (?P<value>\S+)'")
    assert found.line("step 9", error=True) == []
    with pytest.raises(ProgramError, match=r"printed on two streams, .* have both on one"):
        found.line("val_loss 0.5")
    assert [one.step for one in found.line("val_loss 0.5", error=True)] == [9]
    assert found.line("step 10") == found.line("step 11", error=True) == []
    assert [one.step for one in found.line("val_loss 0.4")] == [10]


def test_a_value_before_any_step_is_refused(reader: Make) -> None:
    output = r"output = 'epoch (?P<epoch>\d+)|val (?P<value>\S+)'"
    with pytest.raises(ProgramError, match=r"value before any step.*'val 0\.5'"):
        reader(output, more="train_examples = 8").line("val 0.5")


@pytest.mark.parametrize(
    "line",
    [
        "step 1 val_loss 0.5 step 2 val_loss 0.4",
        "step 1 | val_loss 0.5 | step 2 | val_loss 0.4 | 10 it/s",
    ],
)
def test_several_evaluations_in_a_line_are_told_one_by_one(reader: Make, line: str) -> None:
    assert told(reader(), line) == [(1, None, 0.5), (2, None, 0.4)]


def test_a_match_is_what_the_pattern_says_where_a_line_has_but_one_step(reader: Make) -> None:
    line = "step 12 train_loss 0.7, step 12 val_loss 0.5"
    output = r"output = 'step (?P<step>\d+) .*_loss (?P<value>[\d.]+)'"
    assert told(reader(output), line) == [(12, None, 0.5)]
    loose = r"output = '(?P<step>\d+).*loss (?P<value>[\d.]+)'"
    assert told(reader(loose), "120 | 3.5 it/s | 17 loss 0.25") == [(120, None, 0.25)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("-.5", -0.5),
        ("1,234.5", 1234.5),
        ("1,234,567", 1234567.0),
        ("inf", math.inf),
    ],
)
def test_numbers_are_read_as_programs_write_them(reader: Make, text: str, value: float) -> None:
    assert told(reader(), f"step 1 val_loss {text}") == [(1, None, value)]


@pytest.mark.parametrize("text", ["nan", "NaN", "-nan"])
def test_what_is_not_a_number_and_says_so_is_a_value(reader: Make, text: str) -> None:
    ((_, _, value),) = told(reader(), f"step 1 val_loss {text}")
    assert math.isnan(value)


@pytest.mark.parametrize("text", ["0.5s", "abc", "1,234", "0,5", "12%", "1.2.3", "None", "0x10"])
def test_a_value_that_is_no_number_for_certain_is_refused(reader: Make, text: str) -> None:
    with pytest.raises(ProgramError) as refused:
        reader().line(f"step 1 val_loss {text}")
    assert repr(text) in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "step"), [("1,000", 1000), ("1_000", 1000), ("10.0", 10), ("1e3", 1000)]
)
def test_steps_may_be_written_with_separators(reader: Make, text: str, step: int) -> None:
    assert told(reader(), f"step {text} val_loss 1") == [(step, None, 1.0)]


@pytest.mark.parametrize("text", ["10.5", "-3", "1k", "0,100", "nan", "1e999999999"])
def test_a_step_that_is_no_whole_number_is_refused(reader: Make, text: str) -> None:
    with pytest.raises(ProgramError, match="in what the program tells"):
        reader().line(f"step {text} val_loss 1")


@pytest.mark.parametrize(
    ("pattern", "line", "cut"),
    [
        (r"step (?P<step>\d+) loss (?P<value>[\d.]+)", "step 10 loss 3.2e-05", "3.2e-05"),
        (r"step (?P<step>\d+).*(?P<value>[\d.]+)", "step 10 loss 0.4321", "0.4321"),
        (r"step (?P<step>\d+) loss\D*(?P<value>[\d.]+)", "step 10 loss: -0.5", "-0.5"),
        (r"step (?P<step>\d+).*loss (?P<value>[\d.]+)", "step 1,200: loss 0.5", "1,200"),
        (r"step (?P<step>\d+).*loss (?P<value>[\d.]+)", "step 2k: loss 0.5", "2k"),
        (r"epoch (?P<epoch>\d+).*loss (?P<value>[\d.]+)", "epoch 1.5: loss 0.5", "1.5"),
    ],
)
def test_a_part_of_a_number_is_not_taken_for_another_number(
    reader: Make, pattern: str, line: str, cut: str
) -> None:
    with pytest.raises(ProgramError, match=f"which is a part of '{cut}'"):
        reader(f"output = '{pattern}'").line(line)


@pytest.mark.parametrize(
    ("pattern", "line"),
    [
        (r"^(?P<step>\d+),\d+,(?P<value>[\d.]+)", "10,200,0.5"),
        (r"(?P<step>\d+),(?P<value>[\d.]+)", "10,0.5"),
        (r"step 0*(?P<step>\d+)\D.*loss (?P<value>[\d.]+)", "step 0010.0: loss 0.50s"),
        (r"step-(?P<step>\d+) loss-(?P<value>[\d.]+)", "step-10 loss-0.5s"),
        (r"\[(?P<step>\d+)/.*loss=(?P<value>[\d.]+)", "12:00:01,123 [10/200] loss=0.5, lr=1"),
    ],
)
def test_a_whole_number_is_taken_wherever_it_stands(reader: Make, pattern: str, line: str) -> None:
    assert told(reader(f"output = '{pattern}'"), line) == [(10, None, 0.5)]


def test_a_progress_bar_that_shows_an_old_value_is_told_of_once(
    reader: Make, caplog: pytest.LogCaptureFixture
) -> None:
    output = r"output = '(?P<step>\d+)/\d+ .*val_loss=(?P<value>[\d.]+)'"
    found = reader(output, name="mine/of_a_bar/sgd")
    bar = " 1%|#  | {}/900 [00:01<00:09, 93.2it/s, val_loss=0.5]"
    assert len(told(found, bar.format(10))) == 1
    assert not caplog.records
    assert len(told(found, bar.format(11), bar.format(12))) == 2
    assert "a progress bar shows the same value" in caplog.text
    assert len(caplog.records) == 1


def test_a_match_without_a_value_does_no_harm(reader: Make) -> None:
    output = r"output = 'step (?P<step>\d+)( loss (?P<loss>[\d.]*))? val_loss (?P<value>[\d.]*)'"
    lines = ("step 1 loss 3 val_loss ?", "step 2 loss  val_loss ", "step 3 loss 1 val_loss 2")
    assert told(reader(output), *lines) == [(3, 2.0, 2.0)]


def test_what_ends_a_number_in_a_sentence_is_no_part_of_it(reader: Make) -> None:
    output = r"output = '(?P<step>\S+) .*val_loss (?P<value>\S+)'"
    assert told(reader(output), "10: (val_loss 1.5), saved") == [(10, None, 1.5)]


def test_numbers_of_any_size_do_no_harm(reader: Make) -> None:
    found = told(reader('output = "json"'), f'{{"step": 1, "value": {10**400}}}')
    assert found == [(1, None, math.inf)]
    assert told(reader(), "step 1 val_loss 1e999") == [(1, None, math.inf)]
    with pytest.raises(ProgramError, match="is no number"):
        reader().line("step 1e-999999 val_loss 1")


def test_steps_that_go_backwards_are_refused(reader: Make) -> None:
    found = reader()
    found.line("step 20 val_loss 1")
    with pytest.raises(ProgramError, match="step 10 comes after step 20"):
        found.line("step 10 val_loss 1")


def test_a_step_with_two_values_is_refused_and_with_one_told_twice_is_told_once(
    reader: Make,
) -> None:
    found = reader()
    lines = ("step 20 val_loss nan", "step 20 val_loss nan", "step 30 val_loss 1")
    assert [step for step, _, _ in told(found, *lines, lines[0], lines[2])] == [20, 30]
    with pytest.raises(ProgramError, match="step 30 has the value 2 now, and had 1"):
        found.line("step 30 val_loss 2")


def test_the_evaluation_before_training_is_step_0_and_what_it_is_taken_for_is_said(
    reader: Make, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert told(reader(name="a/b/c"), "step 0 val_loss 4", "step 5 val_loss 3")[0] == (
                0,
                None,
                4.0,
            )
    (message,) = caplog.messages
    assert message.startswith("a/b/c: its evaluation at step 0")


def test_a_program_that_counts_from_0_is_a_step_further_than_it_says(reader: Make) -> None:
    found = reader(more="counts_from = 0")
    assert told(found, "step 0 val_loss 4", "step 9 val_loss 3") == [
        (1, None, 4.0),
        (10, None, 3.0),
    ]


def test_epoch_0_is_refused_until_it_is_said_what_it_means(reader: Make) -> None:
    output = r"output = 'epoch (?P<epoch>\S+) val (?P<value>\S+)'"
    epochs = "train_examples = 64"
    with pytest.raises(ProgramError, match="counts_from = 1"):
        reader(output, more=epochs).line("epoch 0 val 1")
    before = reader(output, more=f"{epochs}\ncounts_from = 1")
    assert told(before, "epoch 0 val 2", "epoch 1 val 1") == [(0, None, 2.0), (8, None, 1.0)]
    first = reader(output, more=f"{epochs}\ncounts_from = 0")
    assert told(first, "epoch 0 val 2", "epoch 1 val 1") == [(8, None, 2.0), (16, None, 1.0)]


@pytest.mark.parametrize(
    ("unit", "more", "counts", "steps"),
    [
        # 100 examples at batch size 8: 13 steps an epoch, the last of 4 examples
        ("epoch", "train_examples = 100", ["1", "2"], [13, 26]),
        ("epoch", "train_examples = 100\ndrop_last = true", ["1", "2"], [12, 24]),
        ("epoch", "train_examples = 64", ["0.25", "0.5", "1.0"], [2, 4, 8]),
        ("examples", "", ["80", "800"], [10, 100]),
        ("examples", "train_examples = 100", ["96", "100", "108", "200"], [12, 13, 14, 26]),
        ("examples", "train_examples = 100\ndrop_last = true", ["96", "104"], [12, 13]),
        ("tokens", "tokens_per_example = 1024", ["8,192", "16_384"], [1, 2]),
    ],
)
def test_other_units_are_turned_into_steps_exactly(
    reader: Make, unit: str, more: str, counts: list[str], steps: list[int]
) -> None:
    found = reader(rf"output = 'at (?P<{unit}>\S+) val (?P<value>\S+)'", more=more)
    lines = [f"at {count} val {1 / n}" for n, count in enumerate(counts, 1)]
    assert [step for step, _, _ in told(found, *lines)] == steps


@pytest.mark.parametrize(
    ("unit", "more", "count", "says"),
    [
        ("epoch", "", "1", "train_examples"),
        ("epoch", "train_examples = 100", "0.53", r"no whole number of steps.*6\.89"),
        ("examples", "", "81", r"no whole number of steps at batch size 8, but 10\.125"),
        ("examples", "train_examples = 100", "104", "no whole number"),
        ("tokens", "tokens_per_example = 1024", "1024", "no whole number"),
    ],
)
def test_a_count_that_is_no_whole_number_of_steps_is_refused(
    reader: Make, unit: str, more: str, count: str, says: str
) -> None:
    with pytest.raises(ProgramError, match=says):
        reader(rf"output = 'at (?P<{unit}>\S+) val (?P<value>\S+)'", more=more).line(
            f"at {count} val 1"
        )


def test_json_lines_tell_by_their_keys_and_other_lines_nothing(reader: Make) -> None:
    lines = (
        '{"step": 10, "value": 0.5, "loss": 0.7}',
        "loading {data}",
        '{"step": 11, "lr": 0.1}',
        '{"value": 3}',
        '{"step": 12, "val',
        '["step", 1]',
        '{"step": 15, "loss": 0.4}',
        ' {"step": 20, "value": NaN} ',
        '{"step": 30, "value": null}',
        "INFO train:7 " + json.dumps({"step": 40, "val_loss": "0.25", "value": 9}),
    )
    (first, second, third) = told(reader('output = "json"'), *lines)
    assert first == (10, 0.7, 0.5)
    assert second[:2] == (20, 0.4)
    assert math.isnan(second[2])
    assert third == (40, None, 0.25)  # the metric's own name comes before "value"


def test_keys_may_be_named_and_nested(reader: Make) -> None:
    output = 'output = {value = "metrics.val.loss", examples = "seen", loss = "train.loss"}'
    row = {"seen": 80, "metrics": {"val": {"loss": 0.5}}, "train": {"loss": 1}, "step": 3}
    assert told(reader(output), json.dumps(row)) == [(10, 1.0, 0.5)]
    assert told(reader(output), {"seen": 80, "metrics.val.loss": 0.5}) == [(10, None, 0.5)]


@pytest.mark.parametrize("value", ["true", '"high"', "[1]"])
def test_a_value_of_json_that_is_no_number_is_refused(reader: Make, value: str) -> None:
    with pytest.raises(ProgramError, match="is no number"):
        reader('output = "json"').line(f'{{"step": 1, "value": {value}}}')


def test_what_was_told_before_a_restart_is_passed_over_and_compared(
    reader: Make, caplog: pytest.LogCaptureFixture
) -> None:
    before = [Evaluation(10, None, 2.0), Evaluation(20, None, 1.5)]
    lines = ("step 20 val_loss 1.5", "step 30 val_loss 1")
    same = told(reader(before=before), *lines)
    assert [step for step, _, _ in same] == [30]
    assert "reproducible" not in caplog.text
    changed = told(reader(before=before), "step 20 val_loss 1.25", lines[1])
    assert [step for step, _, _ in changed] == [30]
    assert "isn't reproducible: resumed, it gives 1.25 at step 20, and gave 1.5" in caplog.text


def test_a_program_that_counts_from_its_resumption_is_refused(reader: Make) -> None:
    before = [Evaluation(10, None, 2.0), Evaluation(20, None, 1.5)]
    found = reader(before=before)
    assert [step for step, _, _ in told(found, "step 0 val_loss 1.5")] == [0]
    with pytest.raises(
        ProgramError, match=r"step 10 is the first .* since it has resumed at step 20"
    ):
        found.line("step 10 val_loss 1.25")


def test_a_program_that_tells_its_checkpoint_s_evaluation_again_goes_on(reader: Make) -> None:
    found = reader(before=[Evaluation(10, None, 2.0)])
    assert told(found, "step 10 val_loss 2.0", "step 20 val_loss 1") == [(20, None, 1.0)]
    with pytest.raises(ProgramError, match="has to go on counting"):
        reader(before=[Evaluation(10, None, 2.0)]).line("step 10 val_loss 1.5")


def test_lines_of_anything_do_no_harm(reader: Make) -> None:
    generator = random.Random(0)
    found, keyed = reader(), reader('output = "json"')
    for length in (0, 1, 100, 65536):
        line = generator.randbytes(length).decode(errors="replace")
        assert found.line(line) == keyed.line(line) == []
    assert keyed.line("{" * 60000 + "}" * 60000) == []


def test_what_ends_a_long_line_is_still_found(reader: Make) -> None:
    assert told(reader(), "." * 60000 + "step 7 val_loss 2") == [(7, None, 2.0)]
