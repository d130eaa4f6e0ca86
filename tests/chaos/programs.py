"""Programs for chaos: scripts with a curve that depends on their metaparameters alone, and with
children that have left them, so that something can be left behind."""

import sys
from pathlib import Path

SCRIPT = """
import math, os, signal, sys, time

rate, dose, batch_size, budget, checkpoint = sys.argv[1:6]
log_rate, dose, batch_size = math.log10(float(rate)), float(dose), int(batch_size)
step = int(open(sys.argv[7]).read()) if sys.argv[6:] == ["--resume", checkpoint] else 0

def leave(*does):  # a child in a session of its own
    if os.fork() == 0:
        os.setsid()
        for act in does:
            act()
        while True:
            time.sleep(1000)

def orphaned():
    if os.fork():
        os._exit(0)

def deaf():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)

def save(*_):
    with open(f"{checkpoint}.new", "w") as file:
        file.write(str(step))
    os.replace(f"{checkpoint}.new", checkpoint)
    os._exit(0)

leave(orphaned)
leave(deaf) if dose < 0.2 else leave()
if checkpoint != "none":
    signal.signal(signal.SIGTERM, save)
speed = math.exp(-(log_rate + 1.5 - 0.3 * math.log10(batch_size / 4)) ** 2)
while step < int(budget):
    time.sleep(float(os.environ.get("TOY_PAUSE", "0")))
    step += 1
    if dose > 0.9 and step == 5:
        sys.exit(3)
    if step % 2 == 0:
        value = math.exp(-0.03 * step * speed * math.sqrt(batch_size))
        print(f"step {step} value {math.nan if log_rate > -0.15 else value:.9f}", flush=True)
"""

SWEEP = r"""
[workload]
name = "chaos/{name}/sgd"
command = ["{python}", "-I", "-S", "{script}", "{{learning_rate}}", "{{dose}}", "{{batch_size}}",
    "{{step_budget}}", "{checkpoint}"]
{resume}
output = 'step (?P<step>\d+) value (?P<value>\S+)'
metric = "value"
better = "lower"
goal = 0.2
batch_sizes = [4]
step_budget = 60
code = ["{script}"]

[search_space]
learning_rate = {{log = [1e-3, 1.0]}}
dose = {{linear = [0.0, 1.0]}}

[resources]
at_once = 2
grace = "1s"
"""


def write_sweeps(folder: Path) -> list[Path]:
    """Write the script and two sweep files: of one that starts again and of one that resumes."""
    script = folder / "program.py"
    script.write_text(SCRIPT)
    found = []
    for name, checkpoint, resume in (
        ("again", "none", ""),
        ("resumed", "{checkpoint}", 'resume = "--resume {checkpoint}"'),
    ):
        found.append(folder / f"{name}.toml")
        text = SWEEP.format(
            name=name, python=sys.executable, script=script, checkpoint=checkpoint, resume=resume
        )
        found[-1].write_text(text)
    return found
