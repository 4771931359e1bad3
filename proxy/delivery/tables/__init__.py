"""Tables of the service's own PostgreSQL, whose rows are delivered. Imported only where a file has
`outbox_tables`."""
