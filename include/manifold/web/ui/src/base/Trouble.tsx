import { Button } from "@chakra-ui/react";

import type { Problem } from "./api";
import { Empty } from "./Empty";
import { LoginButton } from "./LoginButton";

const TITLE: Record<number, string> = {
  0: "No connection to Airflow",
  401: "Your login has ended",
  403: "You may not see this",
  404: "There is no such scatter",
  503: "Manifold cannot reach its ledger",
};

/** What stands in place of the page when there is nothing to show because something is wrong. */
export function Trouble({ problem, retry }: { problem: Problem; retry: () => void }) {
  const action =
    problem.status === 401 ? (
      <LoginButton />
    ) : (
      <Button colorPalette="gray" onClick={retry} size="sm" variant="outline">
        Try again
      </Button>
    );
  return (
    <div role="alert">
      <Empty action={action} title={TITLE[problem.status] ?? "Something went wrong"}>
        {problem.message} {advice(problem.status)}
      </Empty>
    </div>
  );
}

function advice(status: number): string {
  if (status === 401) return "Log in, and you are back on this page.";
  if (status === 403) return "It takes the right to read the DAG. Ask whoever manages access to this Airflow.";
  if (status === 404) return "It may have been collected by manifold gc, or be of a DAG that you may not read.";
  return "What runs goes on running; this page asks again by itself.";
}
