"""What a setting is, and where its value comes from: flags, environment, settings file, default."""
