"""A cron line with a field too few."""

import modal

app = modal.App("wrong-schedule")


@app.function(schedule=modal.Cron("0 9 * *"))
def never() -> None:
    pass


@app.local_entrypoint()
def main() -> None:
    print("never")
