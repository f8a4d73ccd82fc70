"""Reports about runs, made from the traces that `bsbpool.listeners.TraceListener` writes."""
