DELETE FROM ran WHERE migration = 4;
