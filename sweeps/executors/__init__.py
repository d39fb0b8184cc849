"""Where runs are made: each executor turns jobs of RunSpecs into RunRecords."""
