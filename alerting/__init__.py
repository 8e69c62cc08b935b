"""The alert worker: rules, evaluation, state, notifiers."""
