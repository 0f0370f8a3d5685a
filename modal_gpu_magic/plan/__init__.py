"""Decides before anything is sent what a cell needs: machine, names, packages, price."""
