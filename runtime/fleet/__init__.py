"""Fleets of many nodes of a few kinds, with arrivals, churn and failures: policies side by side."""
