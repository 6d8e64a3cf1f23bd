"""What deploy.sh calls: reads an environment, plans what differs in Google Cloud, makes the changes, releases."""
