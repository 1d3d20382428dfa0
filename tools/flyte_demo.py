"""A Flyte program worth looking at, on Switchyard:  flyte_demo.py [HOST:PORT]

Which neighbourhood recognizes handwritten digits best? Scikit-learn's digits are split once (the cache remembers it for the
next run), a grid of classifiers is fitted side by side, a report draws how they did. Nothing here knows of Switchyard
but the endpoint: `tools/up --flyte` runs it with the virtual environment that tools/flyte-venv makes.
"""
import asyncio
import pathlib
import sys
import time
from dataclasses import dataclass

import flyte
import flyte.report
from flyte.io import File

# Interpreters that stay: scikit-learn is imported once in each, not once for each fit.
fits = flyte.TaskEnvironment("fits", resources=flyte.Resources(cpu="500m"), reusable=flyte.ReusePolicy(replicas=2))
env = flyte.TaskEnvironment("digits", depends_on=[fits])
NEIGHBOURS = (1, 3, 5, 9, 15, 25)
WEIGHTS = ("uniform", "distance")


@dataclass
class Fit:
    neighbours: int
    weights: str
    accuracy: float
    seconds: float


@env.task(cache="auto")
async def split(held_out: float) -> File:
    import joblib
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    file = File.new_remote()
    async with file.open("wb") as stream:
        joblib.dump(train_test_split(digits.data, digits.target, test_size=held_out, random_state=7), "split")
        await stream.write(pathlib.Path("split").read_bytes())
    return file


@fits.task(retries=2)
async def fit(data: File, neighbours: int, weights: str) -> Fit:
    import joblib
    from sklearn.neighbors import KNeighborsClassifier

    train, test, train_labels, test_labels = joblib.load(await data.download())
    start = time.monotonic()
    model = KNeighborsClassifier(neighbours, weights=weights).fit(train, train_labels)
    accuracy = float(model.score(test, test_labels))
    print(f"{neighbours} neighbours, {weights}: {accuracy:.4f}")
    return Fit(neighbours, weights, accuracy, time.monotonic() - start)


@env.task(report=True)
async def search(held_out: float) -> list[Fit]:
    data = await split(held_out)
    with flyte.group("grid"):
        found = await asyncio.gather(*[fit(data, n, w) for n in NEIGHBOURS for w in WEIGHTS])
    found = sorted(found, key=lambda one: -one.accuracy)
    bars = "".join(
        f"<tr><td>{one.neighbours}</td><td>{one.weights}</td><td>{one.accuracy:.4f}</td>"
        f"<td><div style='background:#47a;height:1em;width:{(one.accuracy - 0.9) * 4000:.0f}px'></div></td></tr>"
        for one in found)
    await flyte.report.replace.aio(f"<h2>Handwritten digits</h2><table>{bars}</table>")
    await flyte.report.flush.aio()
    return found


def show(run, seconds):
    from flyte.remote import Action, ActionDetails

    print(f"What ran (run {run.name})")
    print(f"  {'TASK':<8} {'ACTION':<26} {'PHASE':<10} {'ATTEMPT':>7} {'TIME':>8}  CACHE")
    for action in sorted(Action.listall(for_run_name=run.name), key=lambda one: one.start_time):
        details = ActionDetails.get(run_name=run.name, name=action.name)
        cache = {2: "hit", 3: "stored"}.get(details.status.cache_status, "")
        print(f"  {action.task_name.split('.')[-1]:<8} {action.name:<26} {details.phase.value:<10} {details.attempts:>7}"
              f" {details.runtime.total_seconds():7.2f}s  {cache}")
    found = run.outputs()[0]
    print(f"\nWhich classifier is best\n  {'NEIGHBOURS':>10}  {'WEIGHTS':<9} {'ACCURACY':>8} {'FIT':>8}")
    for one in found:
        print(f"  {one.neighbours:>10}  {one.weights:<9} {one.accuracy:>8.4f} {one.seconds * 1000:6.0f}ms")
    report = pathlib.Path("flyte-report.html").resolve()
    report.write_text(run.get_report())
    print(f"\nReport: {report}")
    best = found[0]
    right = len(found) == len(NEIGHBOURS) * len(WEIGHTS) and best.accuracy > 0.95
    print(f"flyte demo: {'OK' if right else 'WRONG'}: run {run.name} in {seconds:.1f} s: {best.neighbours} neighbours, "
          f"{best.weights}: {best.accuracy:.1%} of the digits recognized")
    return right


def main():
    flyte.init(endpoint=sys.argv[1] if len(sys.argv) > 1 else "localhost:8090", insecure=True,
               project="default", domain="development", root_dir=pathlib.Path(__file__).parent)
    start = time.monotonic()
    run = flyte.run(search, 0.4)
    print(f"Page: {run.url}")
    run.wait(quiet=True)
    run.raise_for_status()
    sys.exit(0 if show(run, time.monotonic() - start) else 1)


if __name__ == "__main__":
    main()
