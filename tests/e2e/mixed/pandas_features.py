"""Feature engineering in pandas with changes in place: cleaning here, heavy features and a model there."""

from __future__ import annotations

from typing import Final

NOTEBOOK: Final = """
N>
import numpy as np
import pandas as pd
pd.set_option("display.width", 120)
pd.set_option("display.precision", 3)
rng = np.random.default_rng(7)
N>
n = 60
df = pd.DataFrame({
    "date": pd.date_range("2024-01-01", periods=n, freq="D"),
    "shop": rng.choice(["north", "south", "east"], n),
    "price": rng.normal(10, 2, n).round(2),
    "units": rng.integers(1, 20, n).astype(float),
})
df.loc[rng.choice(n, 5, replace=False), "units"] = np.nan
raw = df.copy()
df.head()
N> df.isna().sum()
R>
df["units"] = df.groupby("shop")["units"].transform(lambda s: s.fillna(s.median()))
df["sales"] = df["price"] * df["units"]
df["dow"] = df["date"].dt.dayofweek
print(df.isna().sum().sum(), df.shape, raw.isna().sum().sum())
N>
print(df.columns.tolist(), raw.columns.tolist())
daily = df.set_index("date")
daily["sales"].resample("W").sum().head(3)
R>
daily["roll"] = daily["sales"].rolling(7, min_periods=1).mean()
daily["lag"] = daily["sales"].shift(1)
daily.dropna(inplace=True)
daily.rename(columns={"dow": "weekday"}, inplace=True)
print(daily.tail(3))
N>
print(len(daily), len(df), list(daily))
frames = {"df": df, "daily": daily}
daily["big"] = (daily["sales"] > daily["sales"].median()).astype(int)
R>
frames["daily"]["ratio"] = frames["daily"]["sales"] / frames["daily"]["roll"]
encoders = {}
for column in ["shop"]:
    codes = {value: code for code, value in enumerate(sorted(df[column].unique()))}
    encoders[column] = codes
    daily[column + "_code"] = daily[column].map(codes)
print(encoders, list(daily), frames["daily"] is daily)
N>
print(frames["daily"] is daily, frames["df"] is df, daily["ratio"].describe().round(4).to_dict())
table = daily.pivot_table(index="shop", columns="big", values="sales", aggfunc=["mean", "count"], observed=True)
table
N>
def features(frame, columns=("price", "lag", "roll", "shop_code", "weekday")):
    return frame[list(columns)].to_numpy(float)

def split(frame, share=0.75):
    cut = int(len(frame) * share)
    return frame.iloc[:cut], frame.iloc[cut:]

train, test = split(daily)
R>
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import Ridge
models = {"ridge": Ridge(), "trees": HistGradientBoostingRegressor(max_iter=5, random_state=0)}
for name, model in models.items():
    model.fit(features(train), train["sales"])
    print(name, round(model.score(features(train), train["sales"]), 5))
N>
report = pd.DataFrame({name: model.predict(features(test)) for name, model in models.items()}, index=test.index)
report["truth"] = test["sales"]
report.round(2).tail(4)
N>
errors = (report.drop(columns="truth").sub(report["truth"], axis=0)).abs().mean()
errors.round(3)
R>
df.drop(df[df["units"] > 18].index, inplace=True)
df.reset_index(drop=True, inplace=True)
df["shop"] = df["shop"].astype("category")
print(len(df), df.dtypes.astype(str).to_dict())
N>
print(len(df), frames["df"] is df, df["shop"].cat.categories.tolist(), rng.integers(1000))
df.sort_values(["shop", "date"], inplace=True)
R> print(df.groupby("shop", observed=True)["sales"].agg(["sum", "count"]).round(2), rng.integers(1000))
N> rng.integers(1000)
"""
