DELETE FROM ran WHERE migration = 2;
