DELETE FROM ran WHERE migration = 5;
