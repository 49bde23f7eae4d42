import pytest

from tally.cli import main


@pytest.fixture
def story(tmp_path):
    path = tmp_path / "story.txt"
    path.write_text("the cat and the dog saw a cat\n")
    return str(path)


def lines(capsys):
    return [line.split() for line in capsys.readouterr().out.splitlines()]


def test_the_most_frequent_words_come_first(story, capsys):
    assert main([story]) == 0
    assert lines(capsys) == [["2", "cat"], ["1", "dog"], ["1", "saw"]]


def test_top_limits_the_list(story, capsys):
    main(["--top", "1", story])
    assert lines(capsys) == [["2", "cat"]]


def test_top_zero_shows_all(story, capsys):
    main(["--top", "0", story])
    assert len(lines(capsys)) == 3


def test_ignore_leaves_a_word_out(story, capsys):
    main(["--ignore", "cat", story])
    assert "cat" not in [word for _, word in lines(capsys)]


def test_a_file_that_is_not_there(tmp_path, capsys):
    assert main([str(tmp_path / "nothing.txt")]) == 1
    assert "No such file" in capsys.readouterr().err
