import { Flex, Input, InputGroup } from "@chakra-ui/react";

import { Choice } from "../base/Choice";
import { count } from "../base/format";
import { Icon } from "../base/Icon";
import type { Kind } from "../types";

interface Props {
  kinds: Kind[];
  chosen: string;
  choose: (fingerprint: string) => void;
  search: string;
  setSearch: (text: string) => void;
}

export function FailedFilters({ kinds, chosen, choose, search, setSearch }: Props) {
  return (
    <Flex gap={2} mb={3} wrap="wrap">
      <InputGroup flex="1 1 220px" maxW={{ md: "380px" }} startElement={<Icon name="search" />}>
        <Input
          aria-label="Search failed items"
          onChange={(event) => setSearch(event.target.value)}
          placeholder="Position, key, message or item"
          size="sm"
          type="search"
          value={search}
        />
      </InputGroup>
      <Choice
        all="Every kind of error"
        label="Kind of error"
        onChange={choose}
        options={kinds.map((kind) => [kind.fingerprint, `${shortened(kind.type)}: ${shortened(kind.message)} (${count(kind.count)})`])}
        value={chosen}
      />
    </Flex>
  );
}

const shortened = (text: string): string => (text.length > 40 ? `${text.slice(0, 39)}…` : text);
