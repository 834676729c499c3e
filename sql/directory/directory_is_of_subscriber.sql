select directory_is_of_subscriber()
