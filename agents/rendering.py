"""Chat messages to token ids and back, exactly: the template's text and the contents of messages are kept apart.

The template is rendered once per *shape* of a chat, with a placeholder for each content. Contents are tokenised by
themselves, so that no text from outside can become a control token, and never in one piece with the template, so that
a privileged context can be put into a message without changing any id around it. What a model sampled is never
tokenised again: `ChatRenderer.extend` returns only the ids between a completion and the next one.
"""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sdar_envs.bounded_cache import BoundedCache

from .base import Message
from .chat_shapes import SLOT, ChatShapes, Skeletons, slot
from .tool_formats import ToolFormat, find_tool_format

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# Bytes of what is remembered: ids of texts, shapes of chats, and texts of completions.
_TEXT_BYTES, _SHAPE_BYTES, _DECODED_BYTES = 1 << 21, 1 << 20, 1 << 19

# A rendered shape: ids of the template, and ("content", message, segment) where a content goes.
_Piece = tuple[int, ...] | tuple[str, int, int]


@dataclass(frozen=True, slots=True)
class Rendered:
    """Token ids and where each message's content stands in them.

    `spans[m]` is ``(start, end)`` of the content of message `m` (of the messages that were rendered, in their order);
    None for an empty content, and for one that the template leaves out.
    """

    ids: list[int]
    spans: tuple[tuple[int, int] | None, ...]

    def with_block(self, message: int, block_ids: Sequence[int], *, suffix: bool) -> list[int]:
        """The ids with further ids inside the content of a message.

        Args:
            message: Index of the message, as in `spans`.
            block_ids: The ids to put in, such as those of a privileged context.
            suffix: Put them at the end of the content; else at its beginning.

        Raises:
            ValueError: The template shows no content for the message.
        """
        span = self.spans[message]
        if span is None:
            raise ValueError(
                f"the chat template is expected to show the content of message {message}, which is to hold the "
                "privileged context, and shows none: choose another position, or another chat template"
            )
        at = span[1] if suffix else span[0]
        return [*self.ids[:at], *block_ids, *self.ids[at:]]


class ChatRenderer:
    """Renders chats with a tokenizer's own chat template.

    Args:
        tokenizer: A tokenizer with a chat template.
        enable_thinking: Passed to templates that know it (Qwen3); None leaves the template's default.
        append_history: What to do with a template that rewrites history (Qwen3 strips thinking from earlier turns).
            False: keep to the template, so that `extend` returns None and a new row begins. True: keep what was
            sampled as it is and append, so that one row holds the whole transcript.
        tools: JSON schemas of the tools that every chat is about; a template that knows tools is handed them.

    Attributes:
        end_ids: Ids that end a completion; the first is the template's own end of a turn where it has one.
        turn_end_id: The id that the template writes after an assistant's text, or None.
        pad_id: An id to fill with; it may equal an end id, since nothing here interprets it.
        tool_format: How the template has tools told, called and answered; None without tools.

    Raises:
        ValueError: The tokenizer has no chat template, or no way to end a completion, or a schema holds the name of a
            control token.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        *,
        enable_thinking: bool | None = None,
        append_history: bool = False,
        tools: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        if not getattr(tokenizer, "chat_template", None):
            raise ValueError(
                f"{type(tokenizer).__name__} is expected to have a chat template and has none: "
                "use an instruction-tuned model's tokenizer, or set tokenizer.chat_template"
            )
        self.tokenizer = tokenizer
        self.enable_thinking = enable_thinking
        self.append_history = append_history
        # Control tokens: what the template may write and a content must not. Added one-character tokens are ordinary
        # text unless they are marked special. Longest names first, so that the pattern prefers the longest match.
        added = {token_id: token for token_id, token in tokenizer.added_tokens_decoder.items() if token.content}
        self._control_ids = frozenset(i for i, token in added.items() if token.special or len(token.content) > 1)
        contents = sorted({added[i].content for i in self._control_ids}, key=lambda text: (-len(text), text))
        self._control_text = re.compile("|".join(map(re.escape, contents))) if contents else None
        self._texts: BoundedCache[str, array[int]] = BoundedCache(_TEXT_BYTES)
        self._shapes: BoundedCache[Any, Any] = BoundedCache(_SHAPE_BYTES)
        self._decoded: BoundedCache[bytes, str] = BoundedCache(_DECODED_BYTES)
        # The properties of the template are found by rendering short chats with it.
        self.tool_format: ToolFormat | None = None
        self._tools: list[dict[str, Any]] | None = None
        self._shape = ChatShapes()
        self._merges_system = not self._accepts_system()
        self.turn_end_id = self._find_turn_end()
        eos = tokenizer.eos_token_id
        ends = [self.turn_end_id, *(eos if isinstance(eos, list) else [eos])]
        self.end_ids: list[int] = list(dict.fromkeys(int(i) for i in ends if i is not None))
        if not self.end_ids:
            raise ValueError("the tokenizer is expected to have an eos token, or a template that ends turns with one")
        self.pad_id: int = int(self.end_ids[-1] if tokenizer.pad_token_id is None else tokenizer.pad_token_id)
        if tools is not None:
            self._learn_tools(tools)

    # Rendering.

    def begin(self, messages: Sequence[Message]) -> list[int]:
        """The ids of a whole prompt, up to where the assistant begins to write."""
        return self.begin_layout(messages).ids

    def begin_layout(self, messages: Sequence[Message]) -> Rendered:
        """`begin`, with the place of each message's content.

        Raises:
            ValueError: The template leaves out a system or user message, or writes it twice.
        """
        skeletons, segments = self._shape.of(messages)
        key = ("begin", skeletons)
        pieces = self._shapes.get(key)
        if pieces is None:
            text = self._render(skeletons)
            for index, (role, skeleton) in enumerate(skeletons):
                if role != "assistant" and skeleton and text.count(skeleton) != 1:
                    raise ValueError(
                        f"the chat template is expected to show each message once; message {index} ({role}) appears "
                        f"{text.count(skeleton)} times: use another chat template"
                    )
            pieces = self._shapes.put(key, self._split(text))
        return self._assemble(pieces, segments, range(len(messages)))

    def extend(
        self,
        messages: Sequence[Message],
        completion_text: str,
        completion_ended: bool,
        new_messages: Sequence[Message],
    ) -> list[int] | None:
        """The ids between a sampled completion and the next point of generation.

        Args:
            messages: The chat that the completion answered.
            completion_text: What was sampled, as text without its end token.
            completion_ended: Whether `turn_end_id` was sampled. If not (the token limit came first), the template's
                end ids are part of what is returned: they are prompt, not sampled.
            new_messages: What comes next, e.g. one user message.

        Returns:
            The ids; None when the template does not keep what stood before, so that a new row has to begin.
        """
        layout = self.extend_layout(messages, completion_text, completion_ended, new_messages)
        return None if layout is None else layout.ids

    def extend_layout(
        self,
        messages: Sequence[Message],
        completion_text: str,
        completion_ended: bool,
        new_messages: Sequence[Message],
    ) -> Rendered | None:
        """`extend`, with the place of each new message's content."""
        answer: Message = {"role": "assistant", "content": completion_text}
        skeletons, segments = self._shape.of([*messages, answer, *new_messages])
        known = len(messages)
        if self.append_history:
            skeletons = (*skeletons[:known], ("assistant", slot(known, 0)), *skeletons[known + 1 :])
        key = ("extend", completion_ended, known, skeletons)
        kept = self._shapes.get(key)
        if kept is None:
            kept = self._shapes.put(key, (self._between(skeletons, known, completion_ended),))
        (pieces,) = kept
        if pieces is None:
            return None
        return self._assemble(pieces, segments, range(known + 1, known + 1 + len(new_messages)))

    def _between(self, skeletons: Skeletons, known: int, ended: bool) -> tuple[_Piece, ...] | None:
        """The pieces after the answer (message `known`) of a chat; None where the template rewrites what came before.

        Args:
            skeletons: The whole chat: earlier messages, the answer, and the new messages.
            known: Number of earlier messages, so the index of the answer.
            ended: Whether the template's end of a turn was sampled.
        """
        whole = self._render(skeletons)
        answer = skeletons[known][1]
        if self.append_history:
            # The placeholder stands once in the rendered chat; what the template did to earlier turns does not matter.
            _, found, rest = whole.partition(answer)
            if not found:
                return None
        else:
            # The row holds the earlier chat as it was rendered then, and the answer: the whole must begin with that.
            front = self._render(skeletons[:known]) + answer
            if not whole.startswith(front):
                return None
            rest = whole[len(front) :]
        pieces = self._split(rest)
        if not ended:
            return pieces
        # The end token was sampled and stands in the row already; what follows it in the template does not.
        if self.turn_end_id is None or not pieces or pieces[0][:1] != (self.turn_end_id,):
            return None
        return (pieces[0][1:], *pieces[1:])

    # Text and ids.

    def encode_text(self, text: str) -> list[int]:
        """The ids of a text that is not the template's: ordinary tokens only, whatever the text says."""
        ids = self._texts.get(text)
        if ids is None:
            ids = self._texts.put(text, array("i", self._ids_of_text(text)))
        return ids.tolist()

    def encode_completion(self, text: str) -> list[int]:
        """The ids of a completion as a model would have sampled it.

        Thinking tags and those of a tool call become the tokenizer's own tokens, all other text ordinary ones, and
        `end_ids[0]` closes it.
        """
        ids: list[int] = []
        for number, part in enumerate(self._shape.split(text)):
            ids += self._template_ids(part) if number % 2 else self.encode_text(part)
        return [*ids, self.end_ids[0]]

    def names_control(self, text: str) -> bool:
        """Whether a text holds the name of a control token, such as the one that ends a turn."""
        return self._control_text is not None and self._control_text.search(text) is not None

    def decode(self, completion_ids: Sequence[int]) -> str:
        """The text of a completion without the end token that closes it."""
        ids = array("i", completion_ids)
        key = ids.tobytes()
        text = self._decoded.get(key)
        if text is None:
            body = ids[:-1] if ids and ids[-1] in self.end_ids else ids
            options = {"skip_special_tokens": False, "clean_up_tokenization_spaces": False}
            text = self._decoded.put(key, str(self.tokenizer.decode(body.tolist(), **options)))
        return text

    def _ids_of_text(self, text: str) -> list[int]:
        # A lone surrogate has no UTF-8 form, and tokenizers refuse it.
        clean = text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")
        ids: list[int] = []
        start = 0
        if self._control_text is not None:
            # Cut inside each name of a control token: no piece then holds a whole name.
            while (match := self._control_text.search(clean, start)) is not None:
                ids += self._template_ids(clean[start : match.start() + 1])
                start = match.start() + 1
        ids += self._template_ids(clean[start:])
        if not self._control_ids.isdisjoint(ids):
            # The tokenizer's normaliser produced the name of a control token, or a control token is one character
            # long. Then characters are tokenised one by one, and control ids are left out.
            singly = (i for character in clean for i in self._template_ids(character))
            ids = [i for i in singly if i not in self._control_ids]
        return ids

    def _template_ids(self, text: str) -> list[int]:
        """The ids of the template's own text, in which names of control tokens become control tokens."""
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"]) if text else []

    def _render(self, skeletons: Skeletons) -> str:
        """The template's text for a chat of placeholders, up to where the assistant begins to write."""
        messages = [{"role": role, "content": content} for role, content in skeletons]
        if self._merges_system and len(messages) > 1 and messages[0]["role"] == "system":
            # The template knows no system role: its text begins the first user message.
            system, first, *rest = messages
            messages = [{"role": first["role"], "content": system["content"] + "\n\n" + first["content"]}, *rest]
        options: dict[str, Any] = {} if self.enable_thinking is None else {"enable_thinking": self.enable_thinking}
        if self._tools is not None:
            options["tools"] = self._tools
        return str(self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **options))

    def _split(self, text: str) -> tuple[_Piece, ...]:
        """Rendered text as ids of the template and placeholders, in turn; empty pieces are left out."""
        pieces: list[_Piece] = []
        end = 0
        for match in SLOT.finditer(text):
            pieces.append(tuple(self._template_ids(text[end : match.start()])))
            pieces.append(("content", int(match[1]), int(match[2])))
            end = match.end()
        pieces.append(tuple(self._template_ids(text[end:])))
        return tuple(piece for piece in pieces if piece)

    def _assemble(self, pieces: tuple[_Piece, ...], segments: list[list[str]], shown: range) -> Rendered:
        """The ids of a shape with its contents filled in, and the spans of the messages in `shown`."""
        ids: list[int] = []
        spans: dict[int, tuple[int, int]] = {}
        for piece in pieces:
            if piece[0] == "content":
                _, message, segment = piece
                start = len(ids)
                ids += self.encode_text(segments[message][segment])
                # A message of several segments (thinking, answer) has one span, from the first to the last.
                spans[message] = (spans.get(message, (start, start))[0], len(ids))
            else:
                ids += piece  # type: ignore[arg-type]  # the first entry says which kind it is
        return Rendered(ids, tuple(spans.get(message) for message in shown))

    # What kind of template this is.

    def _learn_tools(self, tools: Sequence[Mapping[str, Any]]) -> None:
        """Find the template's format of tools, and take its tags for control tokens where they are some."""
        found = self._control_text and self._control_text.search(json.dumps(tools, ensure_ascii=False))
        if found:
            raise ValueError(
                f"the tools' schemas are expected to be plain text, and hold the control token {found[0]!r} of the "
                "tokenizer, which a chat template would make the token itself: word that tool otherwise"
            )

        def render(messages: Sequence[Mapping[str, Any]], schemas: Sequence[Mapping[str, Any]] | None) -> str:
            chat = [dict(message) for message in messages]
            options: dict[str, Any] = {} if schemas is None else {"tools": list(schemas)}
            return str(self.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True, **options))

        self.tool_format = find_tool_format(render)
        if self.tool_format.in_template:
            self._tools = [dict(tool) for tool in tools]
        tags = self.tool_format.tags
        if all(tag and not self._control_ids.isdisjoint(self._template_ids(tag)) for tag in tags):
            self._shape = ChatShapes(tags)

    def _accepts_system(self) -> bool:
        """Whether the template shows the content of a system message."""
        from jinja2.exceptions import TemplateError

        self._merges_system = False
        try:
            text = self._render((("system", slot(0, 0)), ("user", slot(1, 0))))
        except TemplateError:  # some templates raise an error for the role
            return False
        return slot(0, 0) in text

    def _find_turn_end(self) -> int | None:
        """The control id that the template writes directly after an assistant's text; None where there is none."""
        chat = (("user", slot(0, 0)), ("assistant", slot(1, 0)), ("user", slot(2, 0)))
        rest = self._render(chat).partition(slot(1, 0))[2].partition(slot(2, 0))[0]
        ids = self._template_ids(rest)
        return ids[0] if ids and ids[0] in self._control_ids else None
