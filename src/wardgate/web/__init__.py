"""The shells of the flow: HTTP in front, processes around."""
