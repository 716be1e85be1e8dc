import { Button, Code } from "@chakra-ui/react";

import { Empty } from "../base/Empty";

export function NoScatters({ chosen, clear }: { chosen: boolean; clear: () => void }) {
  if (chosen) {
    const action = (
      <Button onClick={clear} size="sm" variant="outline">
        Show all
      </Button>
    );
    return <Empty action={action} title="No scatter fits this choice" />;
  }
  return (
    <Empty title="No scatter yet">
      Put <Code>@task.scatter</Code> on a task and run its DAG: it is shown here from its first second on. You see the
      scatters of those DAGs that you may read.
    </Empty>
  );
}
