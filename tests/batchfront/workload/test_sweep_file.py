"""A sweep file says a program, its space and its search; a slip in it gets one line."""

from pathlib import Path

import pytest

from batchfront.errors import SweepFileError
from batchfront.workload.program import Output, Program
from batchfront.workload.search_space import Choice, Integer, Linear, Log, ReverseLog
from batchfront.workload.sweep_file import read_sweep_file
from tests.sweep_files import SWEEP, program, written

PATTERN = r"output = 'step (?P<step>\S+) .*val_loss (?P<value>\S+)'"


def test_a_sweep_file_says_a_program_its_space_and_its_search(tmp_path: Path) -> None:
    found = read_sweep_file(written(tmp_path))
    said = found.program
    assert said.name == "shakespeare/char_gpt/adamw"
    assert said.command[:4] == ("python3", "train.py", "--lr", "{learning_rate}")
    assert str(said.goal) == "val_loss < 1.8"
    assert said.batch_sizes == (8, 32, 128)
    assert said.steps_allowed(32) == 5000
    assert said.space(8) == {"learning_rate": Log(1e-4, 1e-1), "beta2": ReverseLog(0.9, 0.9999)}
    assert said.output.unit == "step"
    assert said.resources.at_once == 2
    assert found.search == {"trials": 16}


def test_a_space_has_ranges_choices_and_fixed_values(tmp_path: Path) -> None:
    space = """
dropout = {linear = [0, 0.5]}
layers = {integer = [2, 8]}
width = {integer = [32, 512], log = true}
activation = {choice = ["relu", "gelu"]}
clip = 1.0
bias = false
"""
    words = "-b {batch_size} {dropout} {layers} {width} {activation} {clip} {bias}"
    found = program(
        tmp_path,
        ("beta2 = {reverse_log", f"{space}beta2 = {{reverse_log"),
        ("-b {batch_size}", words),
    ).space(8)
    assert found["dropout"] == Linear(0.0, 0.5)
    assert found["layers"] == Integer(2, 8)
    assert found["width"] == Integer(32, 512, log=True)
    assert found["activation"] == Choice("relu", "gelu")
    assert (found["clip"], found["bias"]) == (1.0, False)


def test_a_batch_size_may_have_ranges_and_a_budget_of_its_own(tmp_path: Path) -> None:
    found = program(
        tmp_path,
        ("step_budget = 5000", "step_budget = {8 = 9000, 32 = 4000, 128 = 2000}"),
        ("[search]", "[search_space.128]\nlearning_rate = {log = [1e-3, 1]}\n[search]"),
    )
    assert [found.steps_allowed(b) for b in (8, 32, 128)] == [9000, 4000, 2000]
    assert found.space(32)["learning_rate"] == Log(1e-4, 1e-1)
    assert found.space(128)["learning_rate"] == Log(1e-3, 1.0)
    assert found.space(128)["beta2"] == ReverseLog(0.9, 0.9999)


@pytest.mark.parametrize(("last", "steps"), [("", [63, 4]), ("drop_last = true\n", [62, 3])])
def test_a_budget_in_epochs_is_steps_by_the_examples_of_an_epoch(
    tmp_path: Path, last: str, steps: list[int]
) -> None:
    said = f"train_examples = 500\n{last}epoch_budget = 1"
    found = program(tmp_path, ("step_budget = 5000", said))
    assert [found.steps_allowed(b) for b in (8, 128)] == steps


def test_a_command_is_split_as_a_shell_would_and_a_list_is_taken_as_it_is(tmp_path: Path) -> None:
    several = "'''python3 'my train.py' \\\n --x \"a b\" {learning_rate} {beta2} {batch_size}'''\n#"
    quoted = program(tmp_path, ('"python3', several))
    assert quoted.command[:4] == ("python3", "my train.py", "--x", "a b")
    words = '["sh", "-c", "echo $HOME | cat", "{learning_rate}", "{beta2}", "{batch_size}"]\n#'
    assert program(tmp_path, ('"python3', words)).command[2] == "echo $HOME | cat"


@pytest.mark.parametrize(
    ("said", "output"),
    [
        ('output = "json"', Output("json")),
        ('output = "report"', Output("report")),
        (
            'output = {value = "eval.loss", epoch = "epoch", loss = "train_loss"}',
            Output("json", value="eval.loss", unit="epoch", count="epoch", loss="train_loss"),
        ),
        ('output_file = "{trial_dir}/m.csv"', Output("json", file="{trial_dir}/m.csv")),
        (
            'output_file = "{trial_dir}/runs"\noutput = {value = "eval/loss"}',
            Output("json", file="{trial_dir}/runs", value="eval/loss"),
        ),
        (
            "output = '(?P<tokens>\\d+) (?P<value>\\S+)'\ntokens_per_example = 1024",
            Output(
                "pattern",
                pattern=r"(?P<tokens>\d+) (?P<value>\S+)",
                unit="tokens",
                tokens_per_example=1024,
            ),
        ),
    ],
)
def test_an_output_is_a_pattern_keys_or_a_report(tmp_path: Path, said: str, output: Output) -> None:
    assert program(tmp_path, (PATTERN, said)).output == output


def test_durations_are_seconds_or_say_their_unit(tmp_path: Path) -> None:
    said = 'timeout_without_output = "10m"\nmax_pause = 0\ngrace = 2.5'
    found = program(tmp_path, ("at_once = 2", said)).resources
    assert (found.timeout_without_output, found.max_pause, found.grace) == (600.0, 0.0, 2.5)


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "sweep.toml"
    path.write_bytes(b"\xef\xbb\xbf" + SWEEP.replace("\n", "\r\n").encode())
    assert read_sweep_file(path).program.goal.value == 1.8


SLIPS = [
    # what TOML doesn't take
    ('metric = "val_loss"', "metric = val_loss", "isn't TOML", "line 6", "stands in quotes"),
    ("at_once = 2", "tty = True", "isn't TOML", "true, false"),
    (PATTERN, PATTERN.replace("'", '"'), "isn't TOML", "single quotes"),
    ("[search]", "[search", "isn't TOML", "line 16"),
    ("goal = 1.8", "goal = 1.8\ngoal = 2", "isn't TOML", "overwrite"),
    # tables and keys
    ("[resources]", "[resource]", "[resource]", "no table", "resources"),
    ("[workload]", "[program]", "[workload]: is missing"),
    ("at_once = 2", "at_onece = 2", "[resources] at_onece", "did you mean at_once?"),
    ("at_once = 2", "trials = 2", "[resources] trials", "belongs in [search]"),
    ("goal = 1.8", "goal = 1.8\nat_once = 2", "[workload] at_once", "belongs in [resources]"),
    ("command =", "comand =", "[workload] command", "is missing", "comand isn't known"),
    ('name = "shakespeare/char_gpt/adamw"', "", "[workload] name", "dataset/model/optimizer"),
    ("shakespeare/char_gpt/adamw", "gpt", "[workload] name", "dataset/model/optimizer"),
    # values
    ("goal = 1.8", 'goal = "1.8"', "[workload] goal", "without quotes"),
    ("goal = 1.8", "goal = nan", "[workload] goal", "no finite number"),
    ("goal = 1.8", "goal = true", "[workload] goal", "no number"),
    ('better = "lower"', 'better = "min"', "[workload] better", '"lower" nor "higher"'),
    ('better = "lower"\n', "", "[workload] better", "is missing"),
    ('metric = "val_loss"', "metric = 3", "[workload] metric", "no text"),
    ("[8, 32, 128]", "[0, 8]", "[workload] batch_sizes", "least is 1"),
    ("[8, 32, 128]", "[8.5]", "[workload] batch_sizes", "no whole number"),
    ("[8, 32, 128]", "32", "[workload] batch_sizes", "[8, 32, 128]"),
    ("[8, 32, 128]", '"8-32"', "[workload] batch_sizes", "2..1024"),
    ("step_budget = 5000", "", "[workload] step_budget", "epoch_budget"),
    ("step_budget = 5000", "step_budget = 0", "[workload] step_budget", "least is 1"),
    ("step_budget = 5000", "step_budget = {8 = 9}", "[workload] step_budget", "batch size 32"),
    ("step_budget = 5000", "step_budget = {b8 = 9}", "[workload] step_budget", "no batch size"),
    ("step_budget = 5000", "epoch_budget = 5", "[workload] epoch_budget", "train_examples"),
    ("goal = 1.8", "goal = 1.8\nepoch_budget = 5", "[workload] epoch_budget", "leave one"),
    # the command
    ('"python3', '""\n#', "[workload] command", "is empty"),
    ("--seed {seed}", "'--seed", "[workload] command", "No closing quotation"),
    ("--seed {seed}", "| tee log", "[workload] command", "'|' is for a shell", '["sh", "-c"'),
    ("python3 train", "cd x && python3 train", "[workload] command", "cwd in [resources]"),
    ("{seed}", "$SEED", "[workload] command", "$SEED is for a shell"),
    ('"python3', '"GPU=0 python3', "[workload] command", 'env = {GPU = "0"}'),
    ("python3 train", "~/bin/train", "[workload] command", "~ is for a shell"),
    # placeholders
    ("{learning_rate}", "{learning_rat}", "[workload] command", "did you mean learning_rate?"),
    ("{learning_rate}", "{learning_rate:.2e}", "[workload] command", "a name alone"),
    ("{learning_rate}", "{learning_rate", "[workload] command", "without its other half"),
    ("{seed}", "{epoch_budget}", "[workload] command", "nothing fills {epoch_budget}"),
    ("{learning_rate}", "{dropout}", "[workload] command", "isn't in [search_space]"),
    ("--beta2 {beta2}", "", "[search_space] beta2", "no placeholder uses it", "{metaparameters}"),
    ("-b {batch_size}", "", "[workload] command", "its batch size"),
    ("beta2 =", "seed =", "[search_space] seed", "my_seed"),
    ("beta2 =", '"beta 2" =', "[search_space] beta 2", "is no name"),
    (
        "--beta2 {beta2}",
        'x"\nresume = "--resume {checkpoint} {beta2}"\n#',
        "[search_space] beta2",
        "no placeholder uses it",
    ),
    ("goal =", 'checkpoint = "{checkpoint}"\ngoal =', "[workload] checkpoint", "{trial_dir}"),
    (
        "goal =",
        'checkpoint = "x/c.pt"\ngoal =',
        "[workload] checkpoint",
        "the same for every trial",
    ),
    # the output
    (PATTERN, "", "[workload] output", "is missing", '"json"'),
    (PATTERN, "output = 3", "[workload] output", "(?P<step>...)"),
    ("(?P<step>", "(?P<step", "[workload] output", "no regular expression"),
    ("(?P<step>", "(?<step>", "[workload] output", "(?P<name>...)"),
    ("(?P<value>", "(", "[workload] output", "(?P<value>...) around it"),
    ("(?P<step>", "(", "[workload] output", "no group for the step"),
    ("(?P<step>", "(?P<stp>", "[workload] output", "'stp'", "did you mean step?"),
    ("(?P<step>", "(?P<tokens>", "[workload] tokens_per_example", "is missing"),
    (PATTERN, "output = '(?P<step>\\d*)(?P<value>\\d*)'", "[workload] output", "empty line"),
    (PATTERN, "output = {valu = 'a'}", "[workload.output] valu", "did you mean value?"),
    (PATTERN, "output = {step = 'a', epoch = 'b'}", "[workload.output]", "epoch", "one does"),
    ("goal = 1.8", 'goal = 1\noutput_file = "m.csv"', "[workload] output_file", "{trial_dir}"),
    (PATTERN, 'output_file = "{trial_dir}/m.txt"', "[workload] output_file", ".jsonl"),
    # the space
    ("[1e-4, 1e-1]", "[1e-1, 1e-4]", "[search_space] learning_rate", "ends are swapped"),
    ("[1e-4, 1e-1]", "[1, 1]", "[search_space] learning_rate", "both ends"),
    ("[1e-4, 1e-1]", "[0, 1]", "[search_space] learning_rate", "above 0 on a log scale"),
    ("[1e-4, 1e-1]", "[1, 2, 3]", "[search_space] learning_rate", "two ends"),
    ("[1e-4, 1e-1]", '["1e-4", 1]', "[search_space] learning_rate", "without quotes"),
    ("{log = [1e-4, 1e-1]}", "[1e-4, 1e-1]", "[search_space] learning_rate", "{log = ["),
    ("{log =", "{lag =", "[search_space] learning_rate", "did you mean log"),
    (
        "{log = [1e-4, 1e-1]}",
        "{min = 0.1, max = 1.0}",
        "[search_space] learning_rate",
        "{log = [0.1, 1.0]}, or {linear",
    ),
    ("{log =", "{linear = [1, 2], log =", "[search_space] learning_rate", "at once"),
    ("{log = [1e-4, 1e-1]}", "{choice = [1]}", "[search_space] learning_rate", "two different"),
    ("{log = [1e-4, 1e-1]}", "{integer = [1.5, 2]}", "[search_space] learning_rate", "no whole"),
    ("[0.9, 0.9999]", "[0.9, 1]", "[search_space] beta2", "0 <= low < high < 1"),
    ("beta2 =", "optim.beta2 =", "[search_space] optim", '"optim.beta2" ='),
    ("[search]", "[search_space.8]\nlr = 1\n[search]", "8.lr", "isn't in [search_space]"),
    # resources
    ("at_once = 2", "at_once = 0", "[resources] at_once", "least is 1"),
    ("at_once = 2", 'gpus = "1"', "[resources] gpus", "no whole number"),
    ("at_once = 2", 'grace = "ten"', "[resources] grace", "90s, 30m"),
    ("at_once = 2", "grace = -1", "[resources] grace", "0 or more"),
    ("at_once = 2", "timeout_without_output = 0", "timeout_without_output", "leave it out"),
    ("at_once = 2", 'env = ["A=1"]', "[resources] env", "no table"),
    ("at_once = 2", 'env = {A = "{sed}"}', "[resources] env", "did you mean seed?"),
    ("at_once = 2", 'env = {BATCHFRONT_SEED = "1"}', "[resources] env", "batchfront's own"),
    ("goal = 1.8", 'goal = 1.8\ncode = "train.py"', "[workload] code", '["train.py"]'),
    ("goal = 1.8", "goal = 1.8\nresume = true", "[workload] resume", "no text"),
    ("goal = 1.8", "goal = 1.8\ncounts_from = 2", "[workload] counts_from", "0 or 1"),
]


@pytest.mark.parametrize("slip", SLIPS, ids=lambda slip: " ".join(slip[1:3])[:60])
def test_a_slip_gets_one_line_with_file_table_and_key_and_what_would_be_right(
    tmp_path: Path, slip: tuple[str, ...]
) -> None:
    old, new, *says = slip
    path = written(tmp_path, (old, new))
    with pytest.raises(SweepFileError) as refused:
        read_sweep_file(path)
    message = str(refused.value)
    assert message.startswith(f"{path}")
    assert "\n" not in message
    for text in says:
        assert text in message


def test_a_file_that_is_not_there_or_is_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SweepFileError, match="no file"):
        read_sweep_file(tmp_path / "none.toml")
    with pytest.raises(SweepFileError, match="can't be read: Is a directory"):
        read_sweep_file(tmp_path)
    (tmp_path / "sweep.toml").write_bytes(b"\x00\xff\xfe")
    with pytest.raises(SweepFileError, match="isn't UTF-8"):
        read_sweep_file(tmp_path / "sweep.toml")


def identity(folder: Path, *replaced: tuple[str, str]) -> tuple[object, ...]:
    said: Program = program(folder, *replaced)
    return said.describe(), said.space(8), said.steps_allowed(8)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("goal = 1.8", "goal = 1.80   # as in the paper"),
        ("trials = 16", "trials = 64"),
        ("at_once = 2", 'at_once = 8\nmax_pause = 0\ngrace = "1m"\ntimeout_without_output = 60'),
        ("[8, 32, 128]", "[8, 16]"),
        ("goal = 1.8", 'goal = 1.8\ndescription = "a transformer"\ntrain_examples = 500'),
    ],
)
def test_what_changes_no_result_leaves_the_definition_what_it_is(
    tmp_path: Path, old: str, new: str
) -> None:
    assert identity(tmp_path) == identity(tmp_path, (old, new))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("goal = 1.8", "goal = 1.7"),
        ("--seed", "--fast --seed"),
        ("val_loss (", "test_loss ("),
        ("at_once = 2", 'env = {FAST = "1"}'),
        ("at_once = 2", 'cwd = "."\ngpus = 2'),
        ("goal = 1.8", 'goal = 1.8\nresume = "--resume {checkpoint}"'),
        ("goal = 1.8", "goal = 1.8\ndiverged_beyond = 20"),
        ("goal = 1.8", "goal = 1.8\ncounts_from = 0"),
        ("[1e-4, 1e-1]", "[1e-4, 1]"),
        ("step_budget = 5000", "step_budget = 6000"),
    ],
)
def test_what_changes_results_is_another_definition(tmp_path: Path, old: str, new: str) -> None:
    assert identity(tmp_path) != identity(tmp_path, (old, new))
