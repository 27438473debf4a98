CREATE INDEX CONCURRENTLY words_word ON words (word);
