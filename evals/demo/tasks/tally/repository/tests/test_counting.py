from tally import count_words


def test_words_are_counted():
    assert count_words("one two two") == {"one": 1, "two": 2}


def test_small_words_are_left_out():
    assert count_words("the cat and the dog") == {"cat": 1, "dog": 1}


def test_other_words_can_be_left_out():
    assert count_words("the cat and the dog", ignore=["dog"]) == {"the": 2, "cat": 1, "and": 1}


def test_case_matters_when_asked_for():
    assert count_words("Cat cat") == {"cat": 2}
    assert count_words("Cat cat", case=True) == {"Cat": 1, "cat": 1}


def test_contractions_are_one_word():
    assert count_words("don't don’t 'quoted'") == {"don't": 1, "don’t": 1, "quoted": 1}
