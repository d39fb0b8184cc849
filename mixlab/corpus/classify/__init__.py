"""Knowledge classification: which topics a domain's text is about, how much of each, and the domain split by them."""
