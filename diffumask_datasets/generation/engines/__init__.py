"""Who makes the samples: processes of this machine, or a Ray cluster. All they do is fill the sample store."""
