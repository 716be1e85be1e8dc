import { Box } from "@chakra-ui/react";
import { useSearchParams } from "react-router-dom";

import { Styles } from "./base/Styles";
import { ListPage } from "./list/ListPage";
import { TaskTab } from "./list/TaskTab";
import { ScatterView } from "./scatter/ScatterView";

/** Where in Airflow's page we are; all undefined on the page of its own. */
interface Props {
  dagId?: string;
  runId?: string;
  taskId?: string;
  mapIndex?: string;
}

/** The page of its own, or the tab on a DAG run or a task instance; `?scatter=` opens one of the list. */
export default function ManifoldPage({ dagId, runId, taskId, mapIndex }: Props) {
  const [params] = useSearchParams();
  const uid = params.get("scatter");
  const scope = { dag_id: dagId, map_index: mapIndex, run_id: runId, task_id: taskId };
  return (
    <Box className="manifold" maxW="1600px" mx="auto" px={{ base: 1, md: 2 }} py={2} w="full">
      <Styles />
      {uid ? <ScatterView key={uid} uid={uid} within={scope} /> : dagId ? <TaskTab scope={scope} /> : <ListPage />}
    </Box>
  );
}
