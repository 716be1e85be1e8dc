import { chakra, Skeleton, Stack, Text } from "@chakra-ui/react";

import { address } from "../base/api";
import { count } from "../base/format";
import { Source } from "../base/Source";
import { usePolled } from "../base/usePolled";
import type { Errors } from "../types";

/** The first traceback of a kind, and some of its items; asked for when somebody wants to see it. */
export function KindTraceback({ uid, fingerprint, every }: { uid: string; fingerprint: string; every: number | null }) {
  const { data, problem } = usePolled<Errors>(address(`scatters/${uid}/errors`), every);
  const kind = data?.kinds.find((one) => one.fingerprint === fingerprint);
  if (!kind) {
    const text = problem?.message ?? (data ? "Its traceback is not listed: there are too many kinds." : null);
    return text ? <Text fontSize="sm">{text}</Text> : <Skeleton h="120px" />;
  }
  return (
    <Stack gap={2}>
      <Source label={`Traceback of ${kind.type}`}>{kind.traceback}</Source>
      {kind.samples.length > 0 && (
        <Text color="fg.muted" fontSize="xs" overflowWrap="anywhere">
          {"For example "}
          {kind.samples.map((item, index) => (
            <span key={item.pos}>
              {index > 0 && ", "}
              item {count(item.pos)}: <chakra.code>{item.key ?? item.item_repr ?? "?"}</chakra.code>
            </span>
          ))}
        </Text>
      )}
    </Stack>
  );
}
