"""Functions that run by the clock once they are deployed, and now."""

import modal

app = modal.App("schedules")


@app.function(schedule=modal.Period(hours=4, minutes=30))
def often() -> str:
    return "often"


@app.function(schedule=modal.Cron("0 9 * * 1-5", timezone="Europe/Berlin"))
def mornings() -> str:
    return "mornings"


@app.local_entrypoint()
def main() -> None:
    print(often.remote(), mornings.remote())
