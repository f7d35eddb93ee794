"""Deaths at random instants: what is done (`operations`), who dies (`attempts`), who watches (`watchers`), what must be equal (`content`)."""
